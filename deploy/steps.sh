# shellcheck shell=bash disable=SC2034
# What install.sh and upgrade.sh share. Each step is printed before it is done; with DRY_RUN=1 it is only printed.

DRY_RUN=${DRY_RUN:-0}
ENV_FILE=${ENV_FILE:-/etc/payments/env}
SITE=/opt/payments # a link to the release that is in use
RELEASES=/opt/payments-releases

say() { printf '\n# %s\n' "$*"; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Print a command, quoted for the shell, and run it.
run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    [ "$DRY_RUN" = 1 ] || "$@"
}

# The same, for a command whose output matters only if it fails.
quietly() {
    local output
    output=$(run "$@" 2>&1) || {
        printf '%s\n' "$output"
        return 1
    }
    printf '%s\n' "${output%%$'\n'*}"
}

as_site() { run runuser -u payments -- "$@"; }

need_root() {
    [ "$DRY_RUN" = 1 ] || [ "$(id -u)" = 0 ] || fail "run this as root, or with --dry-run to see what it would do"
}

# Print the value of a variable in the environment file, or nothing. The shell reads the file as systemd does.
setting() {
    [ ! -r "$ENV_FILE" ] || (
        set -a
        # shellcheck source=/dev/null
        . "$ENV_FILE"
        printenv "$1" || true
    )
}

# Print the ports of the web processes, one a line.
ports() { seq 8001 "$((8000 + ${1:-1}))"; }

# Wait up to a minute until the web process on this port answers; fail at once if it ends.
answers() {
    local url=http://127.0.0.1:$1/livez
    printf '+ wait until %s answers\n' "$url"
    [ "$DRY_RUN" = 0 ] || return 0
    for _ in $(seq 60); do
        SITE_URL=$(setting SITE_URL) python3 deploy/healthcheck.py "$url" 2>/dev/null && return
        [ "$(systemctl show --value -p NRestarts "payments-web@$1")" = 0 ] || break
        sleep 1
    done
    printf '%s does not answer: journalctl -u payments-web@%s\n' "$url" "$1" >&2
    return 1
}

# Install a file unless it is there already; the file that it replaces is kept with a ~ at the end of its name.
place() {
    cmp -s "$1" "$2" || run install -D -b -m 644 "$1" "$2"
}
