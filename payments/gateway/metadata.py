"""The metadata of Stripe's objects: marks ours with this site's id, and recognises objects of other sites.

Several sites of this kind can share one Stripe account, and each receives the events of all. Disputes, and refunds made
in Stripe's Dashboard, have no metadata, so these alone don't tell to which site they belong.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..domain.facts import Json, StripeFact
from ..models import Payment
from ..models.installation import own_site_id


def metadata_of(payment: Payment, **more: str) -> dict[str, str]:
    """Return the metadata for an object that is made at Stripe for `payment`; `more` is added to it."""
    return {"site": own_site_id(), "payment_id": str(payment.public_id), **more}


def names_another_site(obj: Any) -> bool:
    """Return whether the metadata of an object of Stripe's names a site, and not this one."""
    named = _site_in(obj)
    return bool(named) and named != own_site_id()


def own_claims(obj: Json, facts: list[StripeFact]) -> list[StripeFact]:
    """Return an object's facts without the payment id if it may be another system's, which uses such metadata too.

    That is so if the object doesn't name this site and the payment isn't known.
    """
    named = {fact.payment_id for fact in facts} - {""}
    if not named or _site_in(obj) == own_site_id() or Payment.objects.filter(public_id__in=named).exists():
        return facts
    return [replace(fact, payment_id="") for fact in facts]


def _site_in(obj: Any) -> object:
    metadata = obj.get("metadata") if isinstance(obj, Mapping) else None
    return metadata.get("site") if isinstance(metadata, Mapping) else None
