import datetime
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Max
from django.utils import timezone

from payments.gateway import djstripe
from payments.management.base import OperatorCommand, at_least, rehearsal
from payments.models import Fact, Feed, FeedEntry, RecordView
from payments.signals import pruning


class Command(OperatorCommand):
    help = (
        "Delete old records of webhook deliveries, feed entries, views of patients' records, requests to the API, and"
        " facts that turned out to be another site's. Payments, their facts, changes, receipts and the events that a"
        " replay needs are kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        for name, kept, days in (
            ("deliveries", "records of webhook deliveries", 7),
            ("feeds", "feed entries", 7),
            ("views", "records of who viewed which patient, and of requests to the API", 365),
        ):
            help_text = f"how long to keep {kept} ({days})"
            parser.add_argument(f"--{name}", type=at_least(0), default=days, metavar="DAYS", help=help_text)

    def handle(self, *args: Any, deliveries: int, feeds: int, views: int, dry_run: bool, **options: Any) -> None:
        now = timezone.now()
        with rehearsal(dry_run):
            bodies = djstripe.forget_deliveries(now - datetime.timedelta(days=deliveries))
            entries = self.prune_feeds(now - datetime.timedelta(days=feeds))
            foreign, _ = Fact.objects.foreign().delete()
            logs_before = now - datetime.timedelta(days=views)
            viewed, _ = RecordView.objects.filter(at__lt=logs_before).delete()
            others = [str(text) for _receiver, text in pruning.send(Command, logs_before=logs_before)]
        own = [f"{bodies} deliveries", f"{entries} feed entries", f"{foreign} foreign facts"]
        deleted = ", ".join([*own, *others])
        self.say(f"{deleted} and {viewed} views of records deleted" + (" (dry run)" if dry_run else ""))

    def prune_feeds(self, before: datetime.datetime) -> int:
        """Delete feed entries created before `before`, and return how many were deleted.

        Sets `Feed.pruned`, so that a page which requests deleted entries is told to reload.
        """
        deleted = 0
        for feed in self.progress(Feed.objects.all(), "feeds"):
            old = FeedEntry.objects.filter(feed=feed, created_at__lt=before)
            newest = old.aggregate(newest=Max("seq"))["newest"]
            if newest is not None:
                Feed.objects.filter(pk=feed.pk).update(pruned=newest)
                deleted += old.delete()[0]
        return deleted
