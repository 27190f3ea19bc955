"""`python -m benchmarks.peers.usual.prepare --payments N ...` fills the database of this folder's Django project."""

import argparse

import django

from benchmarks.events import ACCOUNT, AMOUNT, API_KEY, CURRENCY, SECRET
from benchmarks.fill import insert, make_people, reset_sequences

ENDPOINT = "00000000-0000-4000-8000-000000000001"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("payments", "patients", "staff"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    django.setup()
    from djstripe.models import Account, APIKey, WebhookEndpoint

    from benchmarks.peers.usual.clinic.models import Payment

    account = Account.objects.create(id=ACCOUNT)
    APIKey.objects.create(secret=API_KEY, type="secret", livemode=False, djstripe_owner_account=account)
    WebhookEndpoint.objects.create(
        djstripe_uuid=ENDPOINT, id="we_benchmark", url="https://clinic.example", secret=SECRET, enabled_events=["*"],
        status="enabled", livemode=False, djstripe_owner_account=account,
    )  # fmt: skip
    make_people(given.staff, given.patients)
    insert(
        Payment, "generate_series(FIRST, LAST) AS i", 1, given.payments, id="i",
        public_id="md5('payment-' || i)::uuid", patient_id=f"{given.staff} + 1 + i %% {given.patients}",
        amount_due=str(AMOUNT), currency=f"'{CURRENCY}'",
    )  # fmt: skip
    reset_sequences()


if __name__ == "__main__":
    main()
