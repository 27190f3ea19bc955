import datetime
import fnmatch
from operator import itemgetter
from typing import Any

from django.core.management.base import CommandError, CommandParser

from payments.gateway import djstripe, webhooks
from payments.gateway.background import writer
from payments.ledger import Source
from payments.management.base import USAGE, OperatorCommand, at_least, parse_time, rehearsal, require_understood


class Command(OperatorCommand):
    help = (
        "Apply stored events again, oldest first. Events that were applied, given up or not understood need --force."
        " Applying an event twice changes nothing and notifies nobody."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--since", type=parse_time, help="only events that Stripe created at this time or later")
        parser.add_argument("--until", type=parse_time, help="only events that Stripe created before this time")
        parser.add_argument(
            "--type", default="*", metavar="PATTERN", help="only events of these types, e.g. 'charge.*'"
        )
        parser.add_argument(
            "--id", action="append", default=[], metavar="evt_...", help="only this one; can be repeated"
        )
        parser.add_argument(
            "--failed", action="store_true", help="only events that were not settled, even with --force"
        )
        parser.add_argument("--force", action="store_true", help="include events applied, given up or not understood")
        parser.add_argument("--limit", type=at_least(0), help="replay at most this many")

    def handle(self, *args: Any, dry_run: bool, force: bool, **options: Any) -> None:
        events = self.chosen(force=force, **options)
        moved = 0

        def job(event: dict[str, Any]) -> None:
            nonlocal moved
            receipt = webhooks.receive(event, Source.REPLAY, again=True)
            change = receipt.change
            moved += bool(change and change.moved)
            self.say(f"{event['id']} {event['type']} {receipt.outcome}" + (f" {change}" if change else ""))
            require_understood(receipt)

        with rehearsal(dry_run):
            self.each(events, "replay", job, name=itemgetter("id"))
        if not dry_run:
            writer.store()
        self.say(f"{len(events)} replayed, {moved} moved, {len(self.failed)} failed" + " (dry run)" * dry_run)
        self.finish()

    def chosen(
        self,
        *,
        since: datetime.datetime | None,
        until: datetime.datetime | None,
        id: list[str],  # noqa: A002 - the option's name
        type: str,  # noqa: A002
        failed: bool,
        force: bool,
        limit: int | None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Return the stored events that match all options, oldest first.

        Raises CommandError if an event in `id` is not stored, or if `since` is not before `until`.
        """
        if since and until and since >= until:
            raise CommandError(f"--since {since} is not before --until {until}.", returncode=USAGE)
        events = djstripe.stored_events(ids=id, since=since, until=until, failed=failed, settled_too=force)
        missing = set(id) - {event["id"] for event in djstripe.stored_events(ids=id, settled_too=True)}
        if missing:
            raise CommandError(
                f"No stored event {', '.join(sorted(missing))}. catch_up asks Stripe for it.", returncode=USAGE
            )
        return [event for event in events if fnmatch.fnmatch(event["type"], type)][:limit]
