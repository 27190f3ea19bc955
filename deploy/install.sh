#!/bin/bash
# Install the site on Debian 12 or 13, for one machine without containers. Run it again at any time: it changes only
# what differs. `install.sh --help` lists the options; --dry-run prints every command and changes nothing.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
. deploy/steps.sh

# The site's user reaches both without a password: PostgreSQL knows it by its name at the other end of the socket.
LOCAL_POSTGRESQL=postgres:////run/postgresql/payments
LOCAL_REDIS=redis://127.0.0.1:6379/0

usage() {
    cat <<'END'
usage: sudo deploy/install.sh [--dry-run] [OPTION ...]

Needed the first time; what is missing is asked for on a terminal:
  --host NAME         the site's host name, such as pay.clinic.example; it must lead to this machine
  --email ADDRESS     who is told about problems: the nightly doctor's findings, and expiring certificates
  --database KIND     sqlite: a small clinic, one web process; postgresql: installed here, several web processes
  --manager LOGIN     name of the first account, which may do everything
Optional:
  --processes N       how many web processes; 1 with sqlite, else 2
  --proxy KIND        caddy (gets certificates by itself; the default), nginx (with certbot) or none

After that, /etc/payments/env says how the site is set up: change it there, and run install.sh again.
END
}

# One question, if a terminal is there to answer it; its answer is the value of the variable.
ask() { # VARIABLE OPTION QUESTION
    [ -z "${!1}" ] || return 0
    [ -t 0 ] || fail "$2 is missing"
    read -r -p "$3: " "${1?}"
    [ -n "${!1}" ] || fail "$2 is missing"
}

options() {
    HOST='' EMAIL='' DATABASE='' MANAGER='' PROCESSES='' PROXY=''
    while [ $# -gt 0 ]; do
        case $1 in
        --dry-run) DRY_RUN=1 ;;
        --help | -h) usage && exit 0 ;;
        --host | --email | --database | --manager | --processes | --proxy)
            [ $# -gt 1 ] || fail "$1 needs a value"
            local name=${1#--}
            printf -v "${name^^}" %s "$2"
            shift
            ;;
        *) usage >&2 && exit 2 ;;
        esac
        shift
    done
}

# What the site is, from the environment file if there is one, else from options and answers.
decide() {
    if [ -e "$ENV_FILE" ]; then
        [ -r "$ENV_FILE" ] || fail "$ENV_FILE can't be read: run this as root"
        [ -z "$HOST$DATABASE$PROCESSES" ] ||
            fail "$ENV_FILE exists: change SITE_URL, DATABASE_URL or WEB_PROCESSES there"
        SITE_URL=$(setting SITE_URL) DATABASE_URL=$(setting DATABASE_URL) REDIS_URL=$(setting REDIS_URL)
        PROCESSES=$(setting WEB_PROCESSES) EMAIL=$(setting OPERATOR_EMAIL)
        HOST=${SITE_URL#https://}
    else
        ask HOST --host "Host name of the site, such as pay.clinic.example"
        ask EMAIL --email "E-mail address for problems"
        ask DATABASE --database "Database: sqlite for a small clinic with one web process, or postgresql"
        ask MANAGER --manager "Login of the first account"
        SITE_URL=https://$HOST REDIS_URL=''
        case $DATABASE in
        sqlite) PROCESSES=${PROCESSES:-1} DATABASE_URL=sqlite:////var/lib/payments/db.sqlite3 ;;
        postgresql) PROCESSES=${PROCESSES:-2} DATABASE_URL=$LOCAL_POSTGRESQL ;;
        *) fail "--database is sqlite or postgresql" ;;
        esac
        [ "$DATABASE:$PROCESSES" = sqlite:1 ] || [ "$DATABASE" = postgresql ] || fail "sqlite is for one web process"
        [ "$PROCESSES" = 1 ] || REDIS_URL=$LOCAL_REDIS
    fi
    PROCESSES=${PROCESSES:-1}
    [[ $HOST =~ ^[a-z0-9.-]+\.[a-z0-9-]+$ ]] || fail "the host is a name such as pay.clinic.example, not '$HOST'"
    [[ $EMAIL =~ ^[A-Za-z0-9.+_-]+@[A-Za-z0-9.-]+$ ]] || fail "--email (OPERATOR_EMAIL) is an address, not '$EMAIL'"
    [[ $PROCESSES =~ ^[1-9][0-9]?$ ]] || fail "--processes is a number from 1 to 99"
    [ -n "$PROXY" ] || PROXY=$([ -e /etc/nginx/upstream.conf ] && echo nginx || echo caddy)
    [[ $PROXY =~ ^(caddy|nginx|none)$ ]] || fail "--proxy is caddy, nginx or none"
}

packages() {
    say "Debian packages"
    local names=(ca-certificates git python3 python3-pip)
    [ "$PROXY" = none ] || names+=("$PROXY")
    [ "$PROXY" != nginx ] || names+=(certbot openssl)
    [ "$DATABASE_URL" != "$LOCAL_POSTGRESQL" ] || names+=(postgresql)
    [ "$REDIS_URL" != "$LOCAL_REDIS" ] || names+=(redis-server)
    run apt-get update -q
    run env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${names[@]}"
}

site_user() {
    say "The user that the site runs as, and its folder"
    getent passwd payments >/dev/null ||
        run useradd --system --home-dir /var/lib/payments --shell /usr/sbin/nologin payments
    run install -d -m 700 -o payments -g payments /var/lib/payments /var/lib/payments/backups
}

# Set one variable in the new environment file, also where the example has it commented out.
put() {
    printf '+ %s=%s in %s\n' "$1" "${3:-$2}" "$ENV_FILE"
    [ "$DRY_RUN" = 1 ] || sed -i "s|^#\\?$1=.*|$1=$2|" "$ENV_FILE"
}

environment_file() {
    if [ -e "$ENV_FILE" ]; then # it may come from another machine
        [ "$(stat -c '%a %U %G' "$ENV_FILE")" = "640 root payments" ] || {
            run chown root:payments "$ENV_FILE"
            run chmod 640 "$ENV_FILE"
        }
        return 0
    fi
    say "The settings: add the clinic's name, Stripe's keys and EMAIL_URL there afterwards"
    run install -D -m 640 -g payments deploy/env.example "$ENV_FILE"
    put SECRET_KEY "$(python3 -c 'import secrets; print(secrets.token_urlsafe(50))' 2>/dev/null)" "(50 random bytes)"
    put SITE_URL "$SITE_URL"
    put ALLOWED_HOSTS "$HOST"
    put DATABASE_URL "$DATABASE_URL"
    put REDIS_URL "$REDIS_URL"
    put WEB_PROCESSES "$PROCESSES"
    put OPERATOR_EMAIL "$EMAIL"
    put BACKUP_FOLDER /var/lib/payments/backups
}

database() {
    [ "$DATABASE_URL" = "$LOCAL_POSTGRESQL" ] || return 0
    say "PostgreSQL: a role and a database named payments"
    run systemctl start postgresql
    psql_as_postgres "SELECT 1 FROM pg_roles WHERE rolname = 'payments'" ||
        run runuser -u postgres -- env -C / createuser payments
    # template0 and C.UTF-8: a machine without a locale has made its cluster for ASCII.
    psql_as_postgres "SELECT 1 FROM pg_database WHERE datname = 'payments'" ||
        run runuser -u postgres -- env -C / createdb -O payments -E UTF8 --locale C.UTF-8 -T template0 payments
}

# Return whether this query finds a row.
psql_as_postgres() { [ "$(runuser -u postgres -- env -C / psql -XAtc "$1" 2>/dev/null)" = 1 ]; }

proxy() {
    case $PROXY in
    caddy)
        say "Caddy, which gets and renews the certificate by itself once $HOST leads here"
        run systemctl start caddy
        caddyfile >"$scratch/Caddyfile"
        cmp -s "$scratch/Caddyfile" /etc/caddy/Caddyfile || {
            place "$scratch/Caddyfile" /etc/caddy/Caddyfile
            run systemctl reload caddy
        }
        ;;
    nginx)
        say "nginx, with a certificate from certbot, which renews it"
        sed "s/clinic\.example/$HOST/g" deploy/nginx/nginx.conf >"$scratch/nginx.conf"
        nginx_servers >"$scratch/upstream.conf"
        place "$scratch/nginx.conf" /etc/nginx/nginx.conf
        place "$scratch/upstream.conf" /etc/nginx/upstream.conf
        # nginx before 1.25.1, as in Debian 12, does not know the directive in it.
        ! nginx_knows_http2 || place deploy/nginx/http2.conf /etc/nginx/http2.conf
        certificate
        run nginx -t -q
        run systemctl reload-or-restart nginx
        ;;
    esac
}

# Debian's Caddy 2.6 lacks stream_close_delay (2.7): there a reload of Caddy cuts all sockets at once, and pages
# reconnect within some seconds.
caddyfile() {
    local servers
    servers=$(ports "$PROCESSES" | sed 's/^/127.0.0.1:/' | paste -sd ' ')
    sed "s/clinic\.example/$HOST/; s/operator@/$EMAIL/; s/127\.0\.0\.1:8001 .*{/$servers {/" deploy/caddy/Caddyfile |
        if caddy_is_new; then cat; else sed "/After a reload of Caddy/d; /stream_close_delay/d"; fi
}

caddy_is_new() { printf '%s\n' v2.7 "$(caddy version 2>/dev/null || echo v2.6)" | sort -VC; }

nginx_knows_http2() { printf '%s\n' 1.25.1 "$(nginx -v 2>&1 | grep -o '[0-9.]*$')" | sort -VC; }

nginx_servers() {
    sed '/^ *server /d; /^}/d; /keepalive/d' deploy/nginx/upstream.conf
    ports "$PROCESSES" | sed 's/.*/    server 127.0.0.1:& max_fails=0;/'
    printf '    keepalive 32;\n}\n'
}

# nginx does not start without a certificate, and certbot needs nginx: the first one is signed by nobody. A certificate
# of your own in /etc/nginx/tls is left alone, also one that took the place of the first.
certificate() {
    local tls=/etc/nginx/tls
    [ ! -e $tls/fullchain.pem ] || cmp -s $tls/fullchain.pem $tls/temporary || return 0
    openssl x509 -noout -checkend 86400 -in $tls/fullchain.pem >/dev/null 2>&1 || {
        run install -d /var/www/acme $tls
        quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$HOST" \
            -addext "subjectAltName=DNS:$HOST" -keyout $tls/privkey.pem -out $tls/fullchain.pem
        run cp $tls/fullchain.pem $tls/temporary
    }
    run systemctl reload-or-restart nginx
    run certbot certonly --non-interactive --agree-tos --email "$EMAIL" --webroot --webroot-path /var/www/acme \
        --domain "$HOST" --deploy-hook "systemctl reload nginx" || {
        say "No certificate yet, so browsers warn and Stripe's events don't come: see that $HOST leads here and that" \
            "port 80 is open, then run install.sh again. Your own goes into $tls, as fullchain.pem and privkey.pem"
        return 0
    }
    run ln -sf "/etc/letsencrypt/live/$HOST/privkey.pem" "/etc/letsencrypt/live/$HOST/fullchain.pem" $tls/
    run rm $tls/temporary
}

first_account() {
    [ -n "$MANAGER" ] || return 0
    say "The first account. It sets up an authenticator app or a passkey when it signs in"
    # Without a terminal Django takes the password from DJANGO_SUPERUSER_PASSWORD.
    local how=()
    [ -t 0 ] || how=(--noinput)
    has_account || as_site "$SITE/deploy/manage.sh" createsuperuser --skip-checks --username "$MANAGER" --email "$EMAIL" "${how[@]}"
}

has_account() {
    local query="import sys; from accounts.models import User as U"
    query="$query; sys.exit(not U.objects.filter(is_superuser=True).exists())"
    runuser -u payments -- "$SITE/deploy/manage.sh" shell --no-imports -c "$query" 2>/dev/null
}

options "$@"
need_root
decide
say "$SITE_URL, ${DATABASE_URL%%:*}, web processes: $PROCESSES, proxy: $PROXY"
scratch=$(mktemp -d)
[ "$DRY_RUN" = 1 ] || trap 'rm -rf "$scratch"' EXIT # a dry run names files in it, for reading
packages
site_user
environment_file
database
if [ "$REDIS_URL" = "$LOCAL_REDIS" ]; then run systemctl start redis-server; fi
proxy
# A site that is in use keeps its release, which may be an older one by `upgrade.sh --back`.
how=()
[ ! -L "$SITE" ] || how=(--settings)
DRY_RUN=$DRY_RUN WEB_PROCESSES=$PROCESSES deploy/upgrade.sh "${how[@]}"
first_account
[ -z "$MANAGER" ] || say "$MANAGER can sign in at $SITE_URL/. Next: the clinic's settings, e-mail and Stripe in $ENV_FILE"
say "Done. After each change in $ENV_FILE, run deploy/install.sh again, without options"
