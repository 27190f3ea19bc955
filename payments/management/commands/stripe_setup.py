from typing import Any

from django.core.management.base import CommandError, CommandParser, no_translations

from payments.addresses import absolute
from payments.conf import app_settings
from payments.gateway import djstripe, endpoints, rights
from payments.gateway.client import API_VERSION, call
from payments.management.base import OperatorCommand
from people.loopback import is_loopback


class Command(OperatorCommand):
    help = (
        "Set Stripe up for this site: check what the API key may do, and create or correct the webhook endpoint (its"
        " address, event types and API version). Says what differs and asks before it changes anything at Stripe. Safe"
        " to repeat. Never prints the API key; prints the signing secret of an endpoint once, when it creates it."
        " Exit status 1: something is still different."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--yes", action="store_true", help="don't ask: make all the changes")
        which = parser.add_mutually_exclusive_group()
        new = "add a second endpoint, whose secret replaces the first one's: the start of a rotation"
        which.add_argument("--new-secret", action="store_true", help=new)
        old = "delete all endpoints of this site but the newest: the end of a rotation"
        which.add_argument("--delete-old", action="store_true", help=old)

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        self.dry_run, self.sure = options["dry_run"], options["yes"]
        self.different = False
        self.check_rights()
        self.check_account()
        found = endpoints.compare()
        if options["delete_old"]:
            self.delete_old(found)
        elif options["new_secret"]:
            self.create("A new endpoint is asked for, to replace the secret.", replaces=bool(found.ours))
        else:
            self.check_endpoint(found)
        if self.different:
            raise CommandError("Stripe is not set up as this site needs it: see above.")

    def check_rights(self) -> None:
        """Print what the site needs of its key, and whether a restricted key has it."""
        if not rights.key_is_restricted():
            self.say("Key: a secret key, which may do everything. A restricted key is safer: docs/secrets.md.")
            return
        self.say("Key: a restricted key. The site needs these rights:")
        for right in rights.RIGHTS:
            refusal = rights.refusal(right)
            state = "ok     " if refusal is None else "MISSING"
            named = f"; Stripe names it {refusal}" if refusal else ""
            self.say(f"  {state}  {right.resource}: {right.level}, for {right.purpose}{named}")
            self.different |= refusal is not None
        if self.different:
            self.say("  Edit the key in Stripe's Dashboard, Developers, API keys, and add what is missing.")

    def check_account(self) -> None:
        """Print whose the key is and in which mode. Raises CommandError if it is another account's.

        Store the key for dj-stripe, which would otherwise ask Stripe whose it is, and delete earlier ones.
        """
        mode = "live" if app_settings.STRIPE_LIVE_MODE else "test"
        account, _as_of = call(lambda stripe: stripe.v1.accounts.retrieve_current())
        if account["id"] != app_settings.STRIPE_ACCOUNT_ID:
            raise CommandError(f"The key belongs to {account['id']}: set STRIPE_ACCOUNT_ID={account['id']}.")
        self.say(f"Account: {account['id']}, {mode} mode.")
        if not self.dry_run:
            djstripe.bootstrap()
        earlier = djstripe.earlier_keys()
        if earlier and self.may(["The database still holds an earlier API key of this account."], "Delete it there?"):
            earlier.delete()
            self.say("Deleted. Delete it in Stripe's Dashboard as well.")

    def check_endpoint(self, found: endpoints.Comparison) -> None:
        """Create this site's endpoint if there is none or its API version is too old, else correct the newest one."""
        if not found.ours:
            hosts = f" It sends events to {', '.join(found.other_hosts)}." if found.other_hosts else ""
            self.create(f"Stripe has no endpoint for this site.{hosts}")
            return
        newest = found.ours[0]
        self.say(f"Endpoint: {newest['id']}, {newest['url']}, API version {newest['api_version'] or 'of the account'}.")
        if found.outdated:
            why = f"Its API version {found.outdated} has no events about most refunds, and can't be changed."
            self.create(why, replaces=True)
            return
        differences = list(self.differences(found))
        if differences and self.may(differences, "Correct it?"):
            endpoints.correct(newest["id"])
            self.say("Corrected. Now run catch_up, which fetches the events that were not sent.")
        elif not differences:
            self.say("  It is enabled and sends the event types that this site reads.")
        if len(found.ours) > 1:
            self.say(
                "  An older endpoint has the same address, so each event comes twice, which does no harm. Once the site"
                " has the newest one's secret, run stripe_setup --delete-old."
            )

    def differences(self, found: endpoints.Comparison) -> list[str]:
        """Return a sentence for each difference of the newest endpoint that the API can change."""
        disabled = found.ours[0] not in found.enabled
        sentences = ["It is disabled. Stripe does this after several days of failures."] if disabled else []
        if found.missing:
            sentences.append(f"It does not send: {', '.join(found.missing)}.")
        if found.unneeded:
            sentences.append(f"It sends what this site ignores: {', '.join(found.unneeded)}.")
        return sentences

    def create(self, why: str, *, replaces: bool = False) -> None:
        """Ask, then create an endpoint and print its secret. `replaces`: it takes the place of an older one."""
        if is_loopback(app_settings.CLINIC_SITE_URL) and app_settings.real_stripe:
            url = app_settings.CLINIC_SITE_URL
            raise CommandError(f"Stripe can't reach {url}. Use `stripe listen`: docs/operations.md.")
        question = f"Create the endpoint {absolute('clinic:stripe_webhook')} with API version {API_VERSION}?"
        if not self.may([why], question):
            return
        secret = endpoints.create()
        self.say("Created. Stripe tells its signing secret only now; keep it where only the site can read it:")
        self.say(f"  {secret}")
        if not replaces:
            self.say("Set STRIPE_WEBHOOK_SECRET to it, restart the site (on a server, by deploy/install.sh).")
            self.say("Then run payments_doctor.")
            return
        self.say(
            "Put it into STRIPE_WEBHOOK_SECRET before the secret that is there, with a comma between them, and restart"
            " the site. After the next payment run stripe_setup --delete-old, remove the old secret, restart again."
        )

    def delete_old(self, found: endpoints.Comparison) -> None:
        """Ask, then delete all endpoints of this site but the newest, once an event shows that the newest one works."""
        if len(found.ours) < 2:
            self.say("There is no older endpoint.")
            return
        newest, *older = found.ours
        if newest not in found.enabled or not endpoints.accepted_since(newest["created"]):
            raise CommandError(
                f"No event since {newest['id']} was made was accepted at every endpoint, so its secret may not be set"
                " yet. Set it, restart the site, wait for a payment, and try again."
            )
        names = ", ".join(endpoint["id"] for endpoint in older)
        if self.may([f"The site accepts what {newest['id']} sends."], f"Delete {names}?"):
            for endpoint in older:
                endpoints.delete(endpoint["id"])
            self.say("Deleted. Now remove the old secret from STRIPE_WEBHOOK_SECRET and restart the site.")

    def may(self, reasons: list[str], question: str) -> bool:
        """Print the reasons, and return whether the change may be made; if not, it counts as a difference."""
        for reason in reasons:
            self.say(f"  {reason}")
        if self.dry_run:
            self.say(f"  {question} Not with --dry-run.")
        elif self.sure or self.agreed(f"  {question}"):
            return True
        self.different = True
        return False
