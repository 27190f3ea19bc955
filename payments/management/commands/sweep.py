import datetime
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from payments.gateway import sweep
from payments.gateway.checkout import expire_wrong
from payments.management.base import OperatorCommand, at_least, rehearsal
from payments.models import Payment

T = TypeVar("T")


class Command(OperatorCommand):
    help = (
        "Ask Stripe about payments that stand still or are incomplete, find refunds and disputes of which no event"
        " came, expire Checkout pages that must not be paid any more, find out what became of refunds and of charges"
        " to kept cards without an answer, and find payments for waiting events. Safe beside a running site."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)  # type: ignore[arg-type]
        parser.add_argument(
            "--quiet-for", type=at_least(0, float), default=10, metavar="MINUTES", help="leave newer ones alone (10)"
        )

    def handle(self, *args: Any, quiet_for: float, dry_run: bool, **options: Any) -> None:
        done = self.round(datetime.timedelta(minutes=quiet_for), dry_run)
        self.say(f"{done['found']} looked at, {done['moved']} payments moved" + " (dry run)" * dry_run)
        self.finish()

    def round(self, quiet: datetime.timedelta, dry_run: bool) -> Counter[str]:
        """Do each of sweep's jobs once, and return the counts "found" and "moved" of all jobs together.

        "found" counts the items that the jobs found, "moved" the payments whose status changed. A dry run skips the
        jobs that write to Stripe, and rolls back what the other jobs write to the database.
        """
        done = self.work("refund without an answer", sweep.unanswered_refunds, sweep.resend, skip=dry_run)
        done += self.work("charge without an answer", sweep.unanswered_fees, sweep.charge_again, skip=dry_run)
        done += self.work("card without its brand", sweep.unknown_cards, sweep.refresh, rehearse=dry_run)
        done += self.work("card no longer needed", sweep.unneeded_cards, sweep.remove_unneeded_card, skip=dry_run)
        done += self.work("standing still", partial(sweep.standing_still, quiet), sweep.refresh, rehearse=dry_run)
        done += self.work("incomplete", partial(sweep.incomplete, quiet), sweep.refresh, rehearse=dry_run)
        done += self.work("open page to expire", sweep.superfluous, expire_wrong, skip=dry_run)
        done += self.work("not heard of", partial(sweep.unheard_of, quiet), sweep.find_payment, rehearse=dry_run)
        done += self.work("event without its payment", sweep.waiting_links, sweep.find_payment, rehearse=dry_run)
        done += self.work("event given up", sweep.overdue_events, sweep.give_up, rehearse=dry_run)
        return done

    def work(
        self,
        label: str,
        find: Callable[[], Iterable[T]],
        job: Callable[[T], None],
        *,
        skip: bool = False,
        rehearse: bool = False,
    ) -> Counter[str]:
        """Call `job` for each item that `find` returns, and return the counts "found" and "moved".

        "found" counts the items, "moved" the payments whose status changed. If `skip` is true, the items are only
        printed. If `rehearse` is true, what `job` wrote is rolled back. `label` names the job in the output.
        """
        done: Counter[str] = Counter()

        def deal_with(item: T) -> None:
            self.say(f"{label}: {item}")
            if skip:
                return
            if isinstance(item, Payment):
                done["moved"] += self.moves(item, partial(job, item), label, dry_run=rehearse)
                return
            with rehearsal(rehearse):
                job(item)

        try:
            items = list(find())
        except Exception as error:  # noqa: BLE001 - a row that can't be read must not stop the other jobs
            self.report(label, "looking for work", error)
            return done
        self.each(items, label, deal_with)
        done["found"] = len(items)
        return done
