#!/bin/bash
# Put the commit that is checked out here into use, and keep the one before it to go back to: `upgrade.sh --help`.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
. deploy/steps.sh

usage() {
    cat <<'END'
usage: sudo deploy/upgrade.sh [--dry-run] [--back | --settings]

  (nothing)   back up the database, make a release of the commit that is checked out, migrate, restart one by one
  --back      use the release before this one again; the database stays, because migrations fit the code before them
  --settings  go on with the release that is in use, and let each process read the environment file again
  --dry-run   print every command and change nothing

If anything fails before the new release is used, the site goes on as it was. If a process doesn't start on the new
release, the old one is used again.
END
}

# Make the release: the commit's files, its packages by the lock with hashes, and its static files.
release() {
    say "Release $commit in $new"
    [ ! -e "$new/complete" ] || return 0
    run rm -rf "$new"
    run mkdir -p "$new"
    run bash -c "git archive HEAD | tar -x -C $new"
    # DEBUG only spares this one command a SECRET_KEY. Bytecode is made here, because the site's user can't write it.
    run env DEBUG=1 STATIC_FROM_SOURCE=0 UV_COMPILE_BYTECODE=1 "$new/run" manage collectstatic --noinput -v 0
    run "$new/.venv/bin/python" -m compileall -q "$new" -x '/\.(venv|tools)/'
    run touch "$new/complete"
}

# The new tables must fit the old code, which serves while they are made and, in other processes, for a while after.
database() {
    say "Backup, checks, migrations"
    # Warnings are left to the doctor, which speaks last.
    quietly runuser -u payments -- "$new/deploy/manage.sh" check --deploy --fail-level ERROR
    # New settings alone need no backup: each one pushes out the oldest, which may be the only good one.
    [ "$new" != "$old" ] || [ "$DRY_RUN" = 1 ] || needs_migration || return 0
    as_site "$new/deploy/manage.sh" payments_backup
    as_site "$new/deploy/manage.sh" migrate --noinput --skip-checks
}

needs_migration() {
    ! runuser -u payments -- "$new/deploy/manage.sh" migrate --check --skip-checks >/dev/null 2>&1
}

# Use this release from the next start of a process on.
use() {
    say "Use ${1##*/}"
    # Pages that are open ask for the static files that they were made with.
    [ ! -e "$SITE/staticfiles" ] || [ "$old" = "$1" ] || run cp -rn "$SITE/staticfiles/." "$1/staticfiles/"
    run ln -sfn "$1" "$SITE"
    run cp -r "$1/deploy/systemd/." /etc/systemd/system/
    run systemctl daemon-reload
}

# Restart each process when the one before it answers.
restart() {
    say "Restart one by one"
    run systemctl enable payments-work payments-backup.timer payments-doctor.timer
    run systemctl start payments-backup.timer payments-doctor.timer
    run systemctl restart payments-work
    local port count=0
    for port in $(ports "$processes"); do
        count=$((count + 1))
        drain down "$port"
        run systemctl enable "payments-web@$port.socket" "payments-web@$port"
        run systemctl start "payments-web@$port.socket"
        run systemctl restart "payments-web@$port"
        answers "$port" || return 1
        drain up "$port"
    done
    local unit
    for unit in /etc/systemd/system/multi-user.target.wants/payments-web@*.service; do
        port=${unit##*@} port=${port%.service}
        [[ ! $port =~ ^[0-9]+$ ]] || [ "$port" -le "$((8000 + processes))" ] ||
            run systemctl disable --now "payments-web@$port.socket" "payments-web@$port"
    done
}

# Take a process out of nginx's list, or put it back. Without it, what comes meanwhile waits in the process's socket.
drain() {
    [ -e /etc/nginx/upstream.conf ] && [ "$processes" -gt 1 ] || return 0
    [ "$1" = up ] || systemctl is-active -q "payments-web@$2" || return 0
    quietly deploy/drain.sh "$1" "127.0.0.1:$2"
    [ "$1" = up ] || run sleep 2
}

forget_old_releases() {
    local each before
    before=$(readlink -f "$SITE-before" || true)
    for each in "$RELEASES"/*; do
        [ ! -d "$each" ] || [ "$each" = "$new" ] || [ "$each" = "$before" ] || run rm -rf "$each"
    done
}

back=0 settings=0
for option; do
    case $option in
    --back) back=1 ;;
    --settings) settings=1 ;;
    --dry-run) DRY_RUN=1 ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
need_root
[ ! -d "$SITE" ] || [ -L "$SITE" ] || fail "$SITE is a folder: move it away, because it becomes a link to a release"
old=''
[ ! -L "$SITE" ] || old=$(readlink -f "$SITE")
processes=${WEB_PROCESSES:-$(setting WEB_PROCESSES)} processes=${processes:-1}

if [ $back = 1 ]; then
    new=$(readlink -f "$SITE-before") || fail "there is no release to go back to"
elif [ $settings = 1 ]; then
    new=${old:?there is no release in use}
    database
else
    commit=$(git rev-parse --short=12 HEAD) || fail "run this in a git clone"
    new=$RELEASES/$commit
    release
    database
fi
use "$new"
if ! restart; then
    if [ -z "$old" ] || [ "$old" = "$new" ]; then fail "the site did not start"; fi
    use "$old"
    restart || true
    fail "the new release did not start, the one before it is in use again"
fi
[ -z "$old" ] || [ "$old" = "$new" ] || run ln -sfn "$old" "$SITE-before"
[ $back = 1 ] || [ $settings = 1 ] || forget_old_releases
say "The doctor"
as_site "$SITE/deploy/manage.sh" payments_doctor || say "What the doctor names above is still to be done"
