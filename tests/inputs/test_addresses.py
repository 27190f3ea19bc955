"""Tests that no path and no query parameter, however odd, makes a page fail."""

import re
from collections.abc import Iterator
from functools import partial

import pytest
from django.contrib import admin
from django.db import transaction
from django.urls import get_resolver

from tests.payments.streamed import failure_of
from tests.test_authority import World, routes

# Django warns when somebody types a day without its time zone into an address of the admin.
pytestmark = pytest.mark.filterwarnings("ignore:.*naive datetime:RuntimeWarning")

ODD = ["a%00b", "%ED%A0%80", "1%2F2", "0001-01-01", "9999-12-31", "99999999999999999999", "-1", "1e9", "%D9%A3"]
PARAMETERS = ["q", "day", "period", "practitioner", "amount_min", "amount_max", "status", "sort", "page", "after",
              "epoch", "feed", "lang", "session_id", "next", "days", "shown", "first", "last", "method", "currency",
              "month"]  # fmt: skip
OF_ADMIN = ["q", "p", "o", "e", "all", "_facets", "_popup", "_to_field", "_changelist_filters", "id", "pk", "term",
            "app_label", "model_name", "field_name"]  # fmt: skip
DATE_PARTS = ["__year", "__month", "__day", "__gte", "__lt"]
CONVERTER = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)")


def fails(world: World, path: str) -> str:
    """Return what went wrong when a superuser requested the path, or "" if nothing did."""
    client = world.clients["superuser"]
    client.raise_request_exception = False
    client.force_login(world.person("superuser"))
    with transaction.atomic():
        failed = failure_of(client, path)
        transaction.set_rollback(True)
    return failed


def odd_paths(world: World) -> Iterator[str]:
    reference, public_id = world.payment.appointment.reference, str(world.payment.public_id)
    fine = {"reference": reference, "public_id": public_id, "object_id": str(world.payment.pk)}
    paths = {re.sub(r"\^|\$$|\\Z", "", path).replace("/?", "/") for path, _name in routes(get_resolver())}
    for route in sorted(each for each in paths if not each.startswith("/admin/djstripe/")):
        names = [a or b for a, b in CONVERTER.findall(route)]
        for name in names:
            for odd in ODD:
                values = dict.fromkeys(names, "1") | fine | {name: odd}
                yield CONVERTER.sub(partial(_filled, values), route)


def _filled(values: dict[str, str], argument: re.Match[str]) -> str:
    return values[argument[1] or argument[2]]


FOUND = [
    "/desk/REFERENCE/events/a%00b/",
    "/desk/export.csv?day=0001-01-01",
    "/desk/journal.csv?first=0001-01-01&last=9999-12-31",
    "/desk/closing/?day=9999-12-31",
    "/desk/closing/month/?month=9999-12",
    "/admin/clinic_payments/recordview/?at__year=99999999999999999999",
    "/admin/clinic_payments/payment/?status__exact=a%00b",
    "/admin/clinic_appointments/appointment/?practitioner__exact=99999999999999999999",
    "/admin/clinic_payments/email/?created_at__exact=0001-01-01",
]


@pytest.mark.postgres
@pytest.mark.django_db
def test_no_address_makes_a_page_fail_that_once_did(world: World) -> None:
    """These addresses stand for the many that the nightly tests below make up."""
    paths = [path.replace("REFERENCE", world.payment.appointment.reference) for path in FOUND]
    assert [failed for path in paths if (failed := fails(world, path))] == []


@pytest.mark.nightly
@pytest.mark.postgres
@pytest.mark.django_db
def test_no_odd_path_makes_a_page_fail(world: World) -> None:
    assert [failed for path in odd_paths(world) if (failed := fails(world, path))] == []


@pytest.mark.nightly
@pytest.mark.postgres
@pytest.mark.django_db
@pytest.mark.parametrize("view", ["desk", "desk_export", "journal", "journal_export", "closing",
                                  "closing_month", "appointments", "payments_live",
                                  "operations", "why", "review_queue", "desk_appointment", "checkout_return",
                                  "pay_link", "refund_payment", "decide"])  # fmt: skip
def test_no_odd_parameter_makes_a_page_fail(world: World, view: str) -> None:
    path = world.path(f"clinic:{view}").partition("?")[0]
    queries = [f"{name}={odd}" for name in PARAMETERS for odd in ODD]
    queries += [f"day={odd}&period={period}" for odd in ODD for period in ("week", "month")]
    assert [failed for query in queries if (failed := fails(world, f"{path}?{query}"))] == []


@pytest.mark.nightly
@pytest.mark.postgres
@pytest.mark.django_db
@pytest.mark.parametrize(
    "model",
    sorted(label for each in admin.site._registry if not (label := each._meta.label_lower).startswith("djstripe.")),
)
def test_no_odd_parameter_makes_the_admin_fail(world: World, model: str) -> None:
    app, name = model.split(".")
    registered = next(each for each in admin.site._registry if each._meta.label_lower == model)
    of_model = admin.site._registry[registered]
    names = [*OF_ADMIN, *(f"{each}__exact" for each in of_model.list_filter if isinstance(each, str))]
    names += [f"{each}__id__exact" for each in of_model.list_filter if isinstance(each, str)]
    if of_model.date_hierarchy:
        names += [of_model.date_hierarchy + part for part in DATE_PARTS]
    queries = [f"{name}={odd}" for name in names for odd in ODD]
    assert [failed for query in queries if (failed := fails(world, f"/admin/{app}/{name}/?{query}"))] == []
