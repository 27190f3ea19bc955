"""Time-outs for PostgreSQL connections, so that a server that hangs never blocks a request for long."""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

Result = TypeVar("Result")

# Prepared statements are planned once, whatever their parameters are. Compiling plans takes longer than running ours.
PLANS = "-c plan_cache_mode=force_generic_plan -c jit=off"
TIMEOUTS = "-c statement_timeout=5s -c lock_timeout=3s -c idle_in_transaction_session_timeout=15s"
SILENCE = 7.0  # seconds: longer than the server's own time-outs, so that their errors still arrive


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that raises OperationalError when the server has not answered for SILENCE seconds.

    No other time-out notices a server process that is frozen. It can't apply its own time-outs, and the operating
    system still answers TCP keepalives for it.
    """

    def wait(self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None) -> Result:
        try:
            return super().wait(gen, interval, SILENCE if timeout is None else timeout)
        except psycopg.OperationalError:
            if timeout is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()  # otherwise the next statement would take the late answer for its own
            raise


def options(pool_size: int, *, bounded: bool) -> dict[str, Any]:
    """Return the OPTIONS of a Django database with a pool of at most `pool_size` connections.

    With `bounded`, statements have time-outs; without it they may take any time.
    """
    pool: dict[str, Any] = {"min_size": 1, "max_size": pool_size, "timeout": 5, "reconnect_timeout": 10}
    common = {"connect_timeout": 3, "prepare_threshold": 0}  # prepares what payments/db sends, and none of the ORM's
    if not bounded:
        return common | {"pool": pool, "options": PLANS}
    return common | {"pool": pool | {"connection_class": BoundedConnection}, "options": f"{TIMEOUTS} {PLANS}"}
