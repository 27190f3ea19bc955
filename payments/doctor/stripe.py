"""Checks that ask Stripe about the account, the webhook endpoint, the time and recent events, and change nothing."""

import time
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from people.loopback import is_loopback

from ..addresses import absolute
from ..conf import app_settings
from ..gateway.client import StripeKeyError, StripeRefusedError, StripeUnavailableError, call
from ..gateway.event_types import EVENT_READERS
from ..gateway.retrieve import PAGE, events_since, listed
from ..models import EventReceipt
from .finding import Check, Verdict, error, ok, warning

REFUND_EVENTS_SINCE = "2024-10-28"  # https://docs.stripe.com/changelog/acacia
COMPARED_SECONDS = 48 * 60 * 60  # how far back events are compared
DELIVERY_SECONDS = 60  # a younger event may still be on its way
CLOCK_WARNING, CLOCK_ERROR = 30, 240  # seconds; beyond 300 every webhook's signature is refused


def reports_stripe_errors(check: Check) -> Check:
    """Decorate a check that calls Stripe: if Stripe doesn't answer or refuses, the check returns an error verdict."""

    def decorated() -> Verdict:
        try:
            return check()
        except StripeKeyError as refusal:
            return error(
                _("Stripe rejects this key (%(error)s).") % {"error": refusal},
                _("Set STRIPE_SECRET_KEY to a valid key. A restricted key needs read access to events, webhook"
                  " endpoints and the account."),
            )  # fmt: skip
        except StripeUnavailableError as failure:
            return error(
                _("Stripe does not answer at %(host)s (%(error)s).")
                % {"host": app_settings.STRIPE_API_HOST, "error": failure},
                _(
                    "Check this machine’s internet connection and https://status.stripe.com. Webhooks still work,"
                    " but no payment can start."
                ),
            )
        except StripeRefusedError as refusal:
            return error(
                _("Stripe refuses the request (%(error)s).") % {"error": refusal},
                _("Check STRIPE_SECRET_KEY and STRIPE_API_HOST."),
            )

    return decorated


@reports_stripe_errors
def account() -> Verdict:
    found, _as_of = call(lambda stripe: stripe.v1.accounts.retrieve_current())
    if found["id"] != app_settings.STRIPE_ACCOUNT_ID:
        return error(
            _("The key belongs to %(found)s, but STRIPE_ACCOUNT_ID is %(expected)s.")
            % {"found": found["id"], "expected": app_settings.STRIPE_ACCOUNT_ID or "-"},
            _("Set STRIPE_ACCOUNT_ID to the key’s account, or use that account’s key."),
        )
    return ok(_("The key works and belongs to %(account)s.") % {"account": found["id"]})


@reports_stripe_errors
def endpoint() -> Verdict:
    """Check that Stripe has an enabled webhook endpoint for this site that sends every event type the site reads."""
    url = absolute("clinic:stripe_webhook")
    every = [found for found, _as_of in listed("webhook_endpoints")]
    ours = [found for found in every if found["url"].rstrip("/") == url.rstrip("/")]
    if not ours and is_loopback(app_settings.CLINIC_SITE_URL) and app_settings.real_stripe:
        return ok(_("Stripe can’t reach this machine; `stripe listen` forwards the events."))
    if not ours:
        known = ", ".join(sorted({urlsplit(found["url"]).netloc for found in every})) or "-"
        return error(
            _("Stripe sends no events to %(site)s, only to: %(known)s.")
            % {"site": app_settings.CLINIC_SITE_URL, "known": known},
            _("Add the endpoint %(url)s in Stripe’s Dashboard, then run `manage.py catch_up`.") % {"url": url},
        )
    enabled = [found for found in ours if found["status"] == "enabled"]
    if not enabled:
        return error(
            _("The endpoint is disabled in Stripe. Stripe does this after several days of failures."),
            _("Enable it in Stripe’s Dashboard under Developers, Webhooks, then run `manage.py catch_up`."),
        )
    types = {event_type for found in enabled for event_type in found["enabled_events"]}
    missing = sorted(set(EVENT_READERS) - types) if "*" not in types else []
    if missing:
        return error(
            _("The endpoint in Stripe does not send these event types: %(types)s.") % {"types": ", ".join(missing)},
            _("Add these types to the endpoint in Stripe’s Dashboard, then run `manage.py catch_up --since DAY`."),
        )
    if outdated := _outdated_version(enabled):
        return error(
            _("The endpoint in Stripe sends events in API version %(version)s, which has no events about most refunds.")
            % {"version": outdated},
            _("An endpoint’s version can’t be changed: in Stripe’s Dashboard, add another endpoint with this URL and a"
              " newer version, add its secret to STRIPE_WEBHOOK_SECRET, restart the site, and delete the old endpoint."
              " Then run `manage.py catch_up` and `manage.py reconcile --fix`."),
        )  # fmt: skip
    return ok(_("The endpoint in Stripe is enabled and sends every event type that this site needs."))


def _outdated_version(endpoints: list[dict[str, Any]]) -> str:
    """Return the newest API version among the endpoints' events if it is older than REFUND_EVENTS_SINCE, else "".

    An endpoint without a version has the account's version, which is read from Stripe's newest event. If there is no
    event, that version is unknown and doesn't count.
    """
    versions = {found["api_version"] for found in endpoints}
    if None in versions:
        page, _as_of = call(lambda stripe: stripe.v1.events.list({"limit": 1}))
        versions = {*versions - {None}, *(event["api_version"] for event in page["data"])}
    newest = max(versions, default="")
    return newest if newest < REFUND_EVENTS_SINCE else ""


@reports_stripe_errors
def clock() -> Verdict:
    """Compare this machine's clock with the Date header of one of Stripe's answers."""
    started = time.time()
    _page, theirs = call(lambda stripe: stripe.v1.events.list({"limit": 1}))
    offset = round((started + time.time()) / 2 - theirs)  # the header has whole seconds
    what = _("This machine’s clock differs from Stripe’s by %(seconds)s s.") % {"seconds": offset}
    fix = _("Synchronise the clock with NTP: from 300 s on, every webhook is refused.")
    if abs(offset) > CLOCK_ERROR:
        return error(what, fix)
    return warning(what, fix) if abs(offset) > CLOCK_WARNING else ok(what)


@reports_stripe_errors
def missed_events() -> Verdict:
    """Report events of the last 48 hours that Stripe lists but that never arrived here."""
    now = int(time.time())
    theirs = [event for event in events_since(now - COMPARED_SECONDS) if event["created"] < now - DELIVERY_SECONDS]
    ids = [event["id"] for event in theirs if event["livemode"] == app_settings.STRIPE_LIVE_MODE]
    known: set[str] = set()
    for start in range(0, len(ids), PAGE):
        batch = EventReceipt.objects.filter(stripe_event_id__in=ids[start : start + PAGE])
        known |= set(batch.values_list("stripe_event_id", flat=True))
    missed = len(set(ids) - known)
    if missed:
        return error(
            _("Of Stripe’s %(total)s events in the last two days, %(missed)s never arrived.")
            % {"total": len(ids), "missed": missed},
            _(
                "Run `manage.py catch_up`. If more go missing, look at the results of the checks"
                " stripe-endpoint and webhook."
            ),
        )
    return ok(_("All of Stripe’s events in the last two days arrived (%(total)s).") % {"total": len(ids)})
