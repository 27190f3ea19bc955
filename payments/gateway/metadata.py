"""The metadata of Stripe's objects: marks this site's objects with its id, and recognises those of other sites.

Several sites of this kind can share one Stripe account, and each receives the events of all. Disputes, and refunds made
in Stripe's Dashboard, have no metadata, so metadata alone doesn't tell to which site such an object belongs.
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
    """Return whether the metadata of Stripe's object `obj` names another site than this one."""
    named = _site_in(obj)
    return bool(named) and named != own_site_id()


def own_claims(obj: Json, facts: list[StripeFact]) -> list[StripeFact]:
    """Return an object's facts, without the payment id if another system with similar metadata may own the object.

    This is so if the object's metadata doesn't name this site and no payment with that id is known.
    """
    named = {fact.payment_id for fact in facts} - {""}
    if not named or _site_in(obj) == own_site_id() or Payment.objects.filter(public_id__in=named).exists():
        return facts
    return [replace(fact, payment_id="") for fact in facts]


def _site_in(obj: Any) -> object:
    metadata = obj.get("metadata") if isinstance(obj, Mapping) else None
    return metadata.get("site") if isinstance(metadata, Mapping) else None
