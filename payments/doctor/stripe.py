"""Checks that ask Stripe about the account, the webhook endpoint, the time and recent events, and change nothing."""

import time

from django.utils.translation import gettext as _

from people.loopback import is_loopback

from ..addresses import absolute
from ..conf import app_settings
from ..gateway import endpoints
from ..gateway.client import StripeKeyError, StripeRefusedError, StripeUnavailableError, call
from ..gateway.retrieve import PAGE, events_since
from ..models import EventReceipt
from .finding import Check, Verdict, error, ok, warning

COMPARED_SECONDS = 48 * 60 * 60  # how far back events are compared
DELIVERY_SECONDS = 60  # a younger event may still be on its way
CLOCK_WARNING, CLOCK_ERROR = 30, 240  # seconds; beyond 300 every webhook's signature is refused


def reports_stripe_errors(check: Check) -> Check:
    """Decorate a check that calls Stripe: if Stripe doesn't answer or refuses, the check returns an error verdict.

    Without a key nobody is asked, because the check "configuration" says that it is missing.
    """

    def decorated() -> Verdict:
        if not app_settings.STRIPE_SECRET_KEY:
            return ok(_("Not examined: there is no STRIPE_SECRET_KEY yet."))
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
    found = endpoints.compare()
    if not found.ours and is_loopback(app_settings.CLINIC_SITE_URL) and app_settings.real_stripe:
        return ok(_("Stripe can’t reach this machine; `stripe listen` forwards the events."))
    if not found.ours:
        return error(
            _("Stripe sends no events to %(site)s, only to: %(known)s.")
            % {"site": app_settings.CLINIC_SITE_URL, "known": ", ".join(found.other_hosts) or "-"},
            _("Correct SITE_URL if it isn’t the site’s public address. If it is, run `manage.py stripe_setup`, which"
              " adds the endpoint %(url)s, then `manage.py catch_up`.") % {"url": absolute("clinic:stripe_webhook")},
        )  # fmt: skip
    if not found.enabled:
        return error(
            _("The endpoint is disabled in Stripe. Stripe does this after several days of failures."),
            _("Run `manage.py stripe_setup`, which enables it, then `manage.py catch_up`."),
        )
    if found.missing:
        return error(
            _("The endpoint in Stripe does not send these event types: %(types)s.")
            % {"types": ", ".join(found.missing)},
            _("Run `manage.py stripe_setup`, which adds these types, then `manage.py catch_up --since DAY`."),
        )
    if found.outdated:
        return error(
            _("The endpoint in Stripe sends events in API version %(version)s, which has no events about most refunds.")
            % {"version": found.outdated},
            _("An endpoint’s version can’t be changed. Run `manage.py stripe_setup`, which adds a second endpoint and"
              " says how the first is replaced. Then run `manage.py catch_up` and `manage.py reconcile --fix`."),
        )  # fmt: skip
    return ok(_("The endpoint in Stripe is enabled and sends every event type that this site needs."))


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
            _("Run `manage.py catch_up`. If more go missing, and the checks stripe-endpoint and webhook find nothing,"
              " STRIPE_WEBHOOK_SECRET isn’t the secret of the endpoint in Stripe, so that the site refuses its events:"
              " the log has stripe_webhook_refused. Copy the secret from Stripe’s Dashboard, or run"
              " `manage.py stripe_setup --new-secret`, and restart the web processes."),
        )  # fmt: skip
    return ok(_("All of Stripe’s events in the last two days arrived (%(total)s).") % {"total": len(ids)})
