"""Functions that check payments, pages and sockets after a chaos run; each returns or yields what is wrong."""

import re
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.faults.chaos.screen import Screen
from tests.faults.chaos.world import Watcher, World, name_of


def problems(world: World) -> list[str]:
    """Run all checks and return what is wrong; call it after all events were sent and had time to reach the pages."""
    return [
        *nothing_lost(world),
        *payment_differences(world),
        *page_differences(world),
        *nothing_twice(world),
        *foreign_entries(world),
    ]


def lost_events(world: World) -> set[str]:
    """Return the ids of events that were acknowledged, but have no event receipt with the outcome "applied"."""
    applied = {
        row[0]
        for row in world.rows("SELECT stripe_event_id FROM clinic_payments_eventreceipt WHERE outcome = 'applied'")
    }
    return {event.event_id for event in world.stripe.acknowledged} - applied


def nothing_lost(world: World) -> Iterator[str]:
    yield from (f"{event_id} was acknowledged and is lost" for event_id in lost_events(world))


def payment_differences(world: World) -> Iterator[str]:
    """Yield a sentence for each payment whose status, refunds or number of changes don't follow from its events."""
    query = """SELECT p.public_id::text, p.status, p.amount_refunded, count(c.id) FROM clinic_payments_payment p
               LEFT JOIN clinic_payments_statuschange c ON c.payment_id = p.id AND c.source = 'webhook' GROUP BY p.id"""
    found = {row[0]: row[1:] for row in world.rows(query)}
    for life in world.lives:
        wanted = (life.standing.status, life.standing.amounts.refunded, life.changes)
        if found[life.public_id] != wanted:
            yield f"payment {life.public_id} is {found[life.public_id]}, Stripe told {wanted}"


def wrong_pages(world: World) -> list[Watcher]:
    """Return the pages that show a payment whose status or version differs from the database."""
    truth = world.statuses().items()
    return [watcher for watcher in world.watchers if not watcher.statuses.items() <= truth]


def page_differences(world: World) -> Iterator[str]:
    for watcher in wrong_pages(world):
        yield f"{name_of(watcher)} shows {dict(watcher.statuses.items() - world.statuses().items())}"
    for screen in world.screens:
        if (state := screen.look()["state"]) != "connected":
            yield f"{screen.path} is {state}"


def nothing_twice(world: World) -> Iterator[str]:
    for tab in world.tabs:
        yield from repeated(tab.told, f"{name_of(tab)} was told")
        if tab.told != list(range(tab.began_at + 1, tab.cursor + 1)):
            yield f"{name_of(tab)} was not told each change in order"
    for screen in world.screens:
        looked = screen.look()
        yield from repeated(looked["seqs"], f"{screen.path} showed change")
        yield from repeated(looked["toasts"], f"{screen.path} showed toast")
        yield from repeated(looked["changes"], f"{screen.path} lists")
        if looked["loads"] != 1:
            yield f"{screen.path} was loaded {looked['loads']} times"
        if looked["seqs"] != sorted(looked["seqs"]):
            yield f"{screen.path} showed changes out of order"
        yield from timeline(world, screen, looked["changes"])


def timeline(world: World, screen: Screen, shown: list[str]) -> Iterator[str]:
    """Yield a sentence if `shown`, the change ids on a single payment's page, differ from those in the database."""
    query = """SELECT 'change-' || p.public_id || '-' || c.version FROM clinic_payments_statuschange c
               JOIN clinic_payments_payment p ON p.id = c.payment_id
               JOIN clinic_appointments_appointment a ON a.id = p.appointment_id
               WHERE a.reference = %s ORDER BY c.version"""
    if screen.reference and shown != [row[0] for row in world.rows(query, screen.reference)]:
        yield f"{screen.path} lists {shown}"


def repeated(items: Iterable[object], what: str) -> Iterator[str]:
    yield from (f"{what} {item} {count} times" for item, count in Counter(items).items() if count > 1)


def foreign_entries(world: World) -> Iterator[str]:
    """Yield a sentence for each simulated patient's page that received a name or id of another patient."""
    for patient in world.clinic.patients:
        others = [other for other in world.clinic.patients if other is not patient]
        secrets = {str(payment.public_id) for other in others for payment in other.payments}
        secrets |= {word for other in others for word in (*other.references, other.name.title(), "Canary")}
        for tab in world.tabs:
            if tab.person is patient and tab.words & secrets:
                yield f"{name_of(tab)} was told of another patient"


def leaked_sockets(world: World, within: float = 60) -> Iterator[str]:
    """Yield a sentence if, after `within` seconds, the web processes don't hold exactly one socket for each page."""
    deadline = time.monotonic() + within
    while (held := sum(map(sockets_of, world.web_urls))) != len(world.watchers):
        if time.monotonic() > deadline:
            yield f"the web processes hold {held} sockets of {len(world.watchers)} pages"
            break
        time.sleep(1)


def sockets_of(web_url: str) -> int:
    with urllib.request.urlopen(f"{web_url}/metrics", timeout=10) as answer:
        [count] = re.findall(r"^payments_live_sockets (\S+)", answer.read().decode(), re.M)
    return int(float(count))
