import datetime
from argparse import ArgumentParser
from typing import Any

from django.db.models import Max
from django.utils import timezone

from payments.gateway import djstripe
from payments.management.base import OperatorCommand, at_least, rehearsal
from payments.models import Feed, FeedEntry, RecordView


class Command(OperatorCommand):
    help = (
        "Delete what is no longer needed: records of deliveries, old feed entries, and who looked at what long ago."
        " Payments, facts, changes, receipts and the events that a replay needs are kept."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)  # type: ignore[arg-type]
        parser.add_argument(
            "--deliveries", type=at_least(0), default=7, metavar="DAYS", help="keep deliveries for so long (7)"
        )
        parser.add_argument(
            "--feeds", type=at_least(0), default=7, metavar="DAYS", help="keep feed entries for so long (7)"
        )
        parser.add_argument(
            "--views", type=at_least(0), default=365, metavar="DAYS", help="keep who looked at whom for so long (365)"
        )

    def handle(self, *args: Any, deliveries: int, feeds: int, views: int, dry_run: bool, **options: Any) -> None:
        now = timezone.now()
        looked = now - datetime.timedelta(days=views)
        with rehearsal(dry_run):
            bodies = djstripe.forget_deliveries(now - datetime.timedelta(days=deliveries))
            entries = self.prune_feeds(now - datetime.timedelta(days=feeds))
            looks, _ = RecordView.objects.filter(at__lt=looked).delete()
        deleted = f"{bodies} deliveries, {entries} feed entries and {looks} looks at records deleted"
        self.say(deleted + (" (dry run)" if dry_run else ""))

    def prune_feeds(self, before: datetime.datetime) -> int:
        """With the mark by which a page that asks for what is gone is told to reload."""
        deleted = 0
        for feed in self.progress(Feed.objects.all(), "feeds"):
            old = FeedEntry.objects.filter(feed=feed, created_at__lt=before)
            newest = old.aggregate(newest=Max("seq"))["newest"]
            if newest is not None:
                Feed.objects.filter(pk=feed.pk).update(pruned=newest)
                deleted += old.delete()[0]
        return deleted
