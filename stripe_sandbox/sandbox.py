"""The Stripe account that a sandbox process simulates: its objects, clock, scheduled jobs and events."""

import copy
import heapq
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from stripe_sandbox import API_VERSION
from stripe_sandbox.store import Json, Store

# The API request that is being answered, as events refer to it: {"id": "req_...", "idempotency_key": ...}
current_request: ContextVar[Json | None] = ContextVar("current_request", default=None)
# Whether nobody is told of the events that the API request causes, as a fault with `drop_webhooks` orders.
webhooks_lost: ContextVar[bool] = ContextVar("webhooks_lost", default=False)


@dataclass(frozen=True)
class Settings:
    public_url: str = "http://127.0.0.1:0"
    api_key: str | None = None  # None accepts every test key
    business_name: str = "Stripe sandbox"
    settle_seconds: int = 3  # until a test IBAN's debit succeeds or fails; "slowly" always takes 180 s
    balance_seconds: int = 5  # until a charge has a balance transaction, and until all rows of a payout can be listed
    api_version: str = API_VERSION  # the account's default version, until the control API changes it
    retry_base: float = 2.0  # seconds before a webhook's first retry; they double with each retry


@dataclass(order=True)
class Job:
    """A change that Stripe makes later by itself, such as `expire_session` with a session's id as argument."""

    at: float  # on Stripe's clock, Unix seconds
    name: str = field(compare=False)
    args: list[Any] = field(compare=False)


@dataclass
class Sandbox:
    settings: Settings = field(default_factory=Settings)
    store: Store = field(default_factory=Store)
    clock_offset: float = 0.0  # seconds added to the real time, for `created` and for due jobs
    jobs: list[Job] = field(default_factory=list)  # a heap, the earliest first
    on_event: Callable[[Json], None] = lambda event: None
    api_version: str = ""  # for requests, endpoints and events that name no version; as in the settings if empty
    changed: bool = False  # whether anything changed since the state file was written
    payout_day: int = 0  # the day of the last automatic payouts, in days since 1970 (UTC)

    def __post_init__(self) -> None:
        self.api_version = self.api_version or self.settings.api_version
        self.payout_day = self.now() // 86_400
        self.open_account()

    def open_account(self) -> None:
        account = self.store.new("account", self.now(), id="acct_1SandboxTestAccount")
        account["external_accounts"]["url"] = f"/v1/accounts/{account['id']}/external_accounts"
        account["business_profile"]["name"] = self.settings.business_name
        account["settings"]["dashboard"]["display_name"] = self.settings.business_name

    @property
    def account(self) -> Json:
        return next(iter(self.store.objects["account"].values()))

    def now(self) -> int:
        """Return the time on Stripe's clock in whole Unix seconds."""
        return int(time.time() + self.clock_offset)

    def new(self, kind: str, **values: Any) -> Json:
        return self.store.new(kind, self.now(), **values)

    def later(self, seconds: float, name: str, *args: Any) -> None:
        heapq.heappush(self.jobs, Job(self.now() + seconds, name, list(args)))

    def take_due(self) -> list[Job]:
        """Remove the jobs that are due by the sandbox's clock, and return them, earliest first."""
        now = time.time() + self.clock_offset
        due = []
        while self.jobs and self.jobs[0].at <= now:
            due.append(heapq.heappop(self.jobs))
        return due

    def emit(self, event_type: str, subject: Json, previous: Json | None = None) -> None:
        """Create an event with a copy of `subject`, and pass it to `on_event`, which delivers it.

        `previous` holds the old values of changed fields. https://docs.stripe.com/api/events/object
        """
        data: Json = {"object": copy.deepcopy(subject)}
        if previous:
            data["previous_attributes"] = previous
        event = self.new(
            "event",
            type=event_type,
            api_version=self.api_version,
            data=data,
            request=current_request.get() or {"id": None, "idempotency_key": None},
        )
        self.changed = True
        self.on_event(event)

    def dump(self) -> Json:
        jobs = [[job.at, job.name, job.args] for job in self.jobs]
        clock = {"jobs": jobs, "clock_offset": self.clock_offset, "payout_day": self.payout_day}
        return {"store": self.store.dump(), "api_version": self.api_version, **clock}

    def load(self, state: Json) -> None:
        self.store.load(state["store"])
        self.jobs = [Job(*job) for job in state["jobs"]]
        self.clock_offset = state["clock_offset"]
        self.api_version = state.get("api_version", self.settings.api_version)
        self.payout_day = state.get("payout_day", self.payout_day)

    def reset(self, *, keep_endpoints: bool) -> None:
        """Delete all objects and jobs, and set the clock to real time.

        Keep the account and, with `keep_endpoints`, the webhook endpoints.
        """
        kinds = ("account", "webhook_endpoint") if keep_endpoints else ("account",)
        kept = {kind: list(self.store.objects[kind].values()) for kind in kinds}
        self.store.load({"objects": kept, "private": self.store.private})
        self.jobs, self.clock_offset, self.changed = [], 0.0, True
        self.payout_day = self.now() // 86_400
        self.api_version = self.settings.api_version
