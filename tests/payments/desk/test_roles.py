"""Staff groups: the permissions of each group, and how much its members may refund."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, Permission

from accounts.models import User
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.desk.roles import GROUPS, ON_USERS, make_groups
from payments.gateway.client import StripeUnavailableError
from payments.models import Payment
from tests.payments.clients import desk_page_of, signed_in, text_of
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
FULL = {"through": "stripe", "amount": "150", "reason": "requested_by_customer"}


@pytest.fixture
def large(book: Callable[..., Payment]) -> Payment:
    """Return a paid payment of 150 €, which exceeds the front desk's refund limit of 100 €."""
    payment = book(15000)
    deliver(Story(payment).succeeded())
    payment.refresh_from_db()
    return payment


def test_each_group_has_its_permissions() -> None:
    for name, codenames in GROUPS.items():
        group = Group.objects.get(name=name)
        on_users = {f"{action}_user" for action in ON_USERS.get(name, ())}
        assert {permission.codename for permission in group.permissions.all()} == {*codenames, *on_users}


def test_groups_get_permissions_that_django_has_not_made_yet() -> None:
    """The groups are complete after the first migration, wherever the apps stand in INSTALLED_APPS."""
    Group.objects.all().delete()
    Permission.objects.all().delete()
    make_groups()
    test_each_group_has_its_permissions()


def test_what_a_manager_took_from_a_group_stays_taken() -> None:
    group = Group.objects.get(name="front desk")
    group.permissions.remove(Permission.objects.get(codename="refund_payment"))
    make_groups()
    assert not group.permissions.filter(codename="refund_payment").exists()


def test_staff_in_no_group_refund_nothing(large: Payment) -> None:
    assert signed_in("temp").get(f"{desk_page_of(large)}refund/").status_code == 403


def test_the_front_desk_refunds_up_to_its_limit(large: Payment) -> None:
    desk = signed_in("desk2", "front desk")
    answer = desk.post(f"{desk_page_of(large)}refund/", FULL)
    assert answer.status_code == 422
    assert "Votre compte peut rembourser au plus 100,00 €" in text_of(answer)
    assert desk.post(f"{desk_page_of(large)}refund/", {**FULL, "amount": "100"}).status_code == 200


def test_many_small_refunds_stay_within_the_limit(large: Payment, clerk: User) -> None:
    with pytest.raises(StripeUnavailableError):  # Stripe can't be reached, so the refund stays pending
        give_back(large, Order(9000, "duplicate"), clerk, key=uuid4().hex)
    answer = signed_in("desk2", "front desk").post(
        f"{desk_page_of(large)}refund/", {**FULL, "amount": "20", "confirmed": "1"}
    )
    assert "Votre compte peut rembourser au plus 10,00 €" in text_of(answer)
    large.refresh_from_db()
    assert large.amount_refund_pending == 9000


def test_an_accountant_refunds_everything(large: Payment) -> None:
    answer = signed_in("books", "accountant").post(f"{desk_page_of(large)}refund/", FULL)
    assert "Rembourser 150,00 €" in text_of(answer)
