#!/bin/bash
# Replace the database by a backup, bring back from Stripe what happened since, and start the site: `restore.sh --help`.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/steps.sh

usage() {
    cat <<'END'
usage: sudo deploy/restore.sh [--dry-run] [--yes] [--sent-until TIME] FILE

  FILE          a backup that payments_backup made; /var/lib/payments/backups has the newest 30
  --sent-until  when the lost site last sent e-mails, if that was on another machine: "2026-05-31 14:05" in the
                clinic's time zone. E-mails about what happened until then are not sent again. Without it: when
                payments-work was last stopped here
  --yes         don't ask: replace the database, and mark those e-mails as sent
  --dry-run     print every command and change nothing

The site is stopped meanwhile. If anything fails it stays stopped; run this again once the cause is gone.
END
}

stop() {
    say "Stop the site"
    run systemctl stop 'payments-web@*' payments-work
}

# Print when the background work, which sends e-mails, was stopped.
stopped_at() {
    local time
    time=$(systemctl show --value -p InactiveEnterTimestamp payments-work)
    date -u -d "${time:-now}" '+%Y-%m-%d %H:%M:%S+00:00'
}

# Bring back what Stripe has reported since the backup, and what it missed.
catch_up() {
    if [ -z "$(setting STRIPE_SECRET_KEY)" ]; then
        say "Without STRIPE_SECRET_KEY, nothing is fetched from Stripe"
        return 0
    fi
    say "What Stripe has reported since"
    manage catch_up
    manage reconcile --fix
}

start() {
    say "Start the site"
    local port
    run systemctl start payments-work
    for port in $(ports "$(setting WEB_PROCESSES)"); do
        run systemctl start "payments-web@$port.socket" "payments-web@$port"
        answers "$port"
    done
}

manage() { as_site "$SITE/deploy/manage.sh" "$@"; }

file='' sent_until='' sure=()
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) DRY_RUN=1 ;;
    --yes) sure=(--yes) ;;
    --sent-until) sent_until=${2:-} && shift ;;
    --help | -h) usage && exit 0 ;;
    -*) usage >&2 && exit 2 ;;
    *) file=$1 ;;
    esac
    shift
done
[ -n "$file" ] || { usage >&2 && exit 2; }
need_root
file=$(realpath "$file")
[ "$DRY_RUN" = 1 ] || runuser -u payments -- test -r "$file" ||
    fail "the site's user can't read $file: copy it into /var/lib/payments/backups, and chown payments"

stop
trap '[ "$DRY_RUN" = 1 ] || say "NOT FINISHED: the site is stopped. Run this again once the cause above is gone"' EXIT
say "The database"
manage payments_restore "$file" "${sure[@]}" || {
    trap - EXIT
    start
    fail "nothing was restored, and the site is as it was"
}
manage migrate --noinput --skip-checks
manage payments_doctor --after-restore --sent-until "${sent_until:-$(stopped_at)}" "${sure[@]}"
catch_up
start
trap - EXIT
say "The doctor"
manage payments_doctor || say "What the doctor names above is still to be done"
