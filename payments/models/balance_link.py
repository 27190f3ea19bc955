"""The links of Stripe's balance transactions: to the object that moved the money, and to the payout."""

from collections.abc import Iterable

from django.db import models
from django.utils.translation import gettext_lazy as _


class BalanceLinkManager(models.Manager["BalanceLink"]):
    def known_payouts(self, payout_ids: Iterable[str]) -> set[str]:
        """Return those of these payouts of which it is known what they contain."""
        found = self.filter(payout_id__among=list(payout_ids)).order_by()
        return set(found.values_list("payout_id", flat=True).distinct())

    def note_sources(self, sources: dict[str, str]) -> None:
        """Store to which objects balance transactions belong. What is known of their payouts stays.

        `sources` maps ids of balance transactions to ids of charges, refunds, disputes or payouts.
        """
        rows = [BalanceLink(stripe_id=stripe_id, source_id=source_id) for stripe_id, source_id in sources.items()]
        self.bulk_create(rows, ignore_conflicts=True)

    def note_payout(self, payout_id: str, sources: dict[str, str]) -> None:
        """Store that the payout contains exactly these balance transactions, its own among them.

        `sources` maps their ids to ids of charges, refunds, disputes or payouts; a source may be "".
        """
        rows = [
            BalanceLink(stripe_id=stripe_id, source_id=source_id, payout_id=payout_id)
            for stripe_id, source_id in sources.items()
        ]
        columns = ("source_id", "payout_id")
        self.bulk_create(rows, update_conflicts=True, unique_fields=("stripe_id",), update_fields=columns)


class BalanceLink(models.Model):
    """To which object one of Stripe's balance transactions belongs, and in which payout it went to the bank.

    dj-stripe's BalanceTransaction has the amounts, but no index on its source, and Stripe doesn't tell in it which
    payout it went into. `payout_id` is "" until that is known. All rows of a payout are stored together, so if there is
    one, there are all.
    """

    stripe_id = models.CharField(_("balance transaction"), max_length=255, unique=True)
    source_id = models.CharField(_("Stripe object"), max_length=255, blank=True, db_index=True)
    payout_id = models.CharField(_("payout"), max_length=255, blank=True, db_index=True)

    objects = BalanceLinkManager()

    class Meta:
        ordering = ("pk",)
        verbose_name = _("balance link")
        verbose_name_plural = _("balance links")
        permissions = (("view_transfers", "Can see what Stripe transfers to the bank"),)

    def __str__(self) -> str:
        return f"{self.stripe_id} {self.payout_id}"
