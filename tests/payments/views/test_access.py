"""Tests of the audit log of payments that staff opened: requests that an open page makes by itself aren't logged."""

import datetime

import pytest
import time_machine
from django.utils import timezone

from accounts.models import User
from payments.models import Payment, RecordView
from tests.payments.clients import client_of, desk_page_of

pytestmark = pytest.mark.django_db
BY_HTMX = {"HX-Request": "true"}


@pytest.mark.parametrize("fetched", ["timeline/", ""])
def test_what_an_open_page_fetches_by_itself_is_no_look(payment: Payment, clerk: User, fetched: str) -> None:
    client = client_of(clerk)
    client.get(desk_page_of(payment))
    with time_machine.travel(timezone.now() + datetime.timedelta(minutes=20)):
        answer = client.get(f"{desk_page_of(payment)}{fetched}", headers=BY_HTMX)
        assert answer.status_code == 200
        assert f'id="payment-{payment.public_id}-timeline"' in answer.content.decode()
        assert RecordView.objects.count() == 1
        client.get(desk_page_of(payment))
        assert RecordView.objects.count() == 2


def test_htmxs_header_hides_no_look_at_a_payment_that_was_not_opened(payment: Payment, clerk: User) -> None:
    client_of(clerk).get(f"{desk_page_of(payment)}timeline/", headers=BY_HTMX)
    assert RecordView.objects.get().user == clerk


def test_the_timeline_is_for_staff_and_holds_nothing_else(payment: Payment, patient: User, clerk: User) -> None:
    assert client_of(patient).get(f"{desk_page_of(payment)}timeline/").status_code == 403
    html = client_of(clerk).get(f"{desk_page_of(payment)}timeline/", headers=BY_HTMX).content.decode()
    assert html.startswith("<ol")
    assert html.rstrip().endswith("</ol>")
