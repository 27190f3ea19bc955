"""How long this site waits for PostgreSQL, wherever that stands still."""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

Result = TypeVar("Result")

TIMEOUTS = "-c statement_timeout=5s -c lock_timeout=3s -c idle_in_transaction_session_timeout=15s"
SILENCE = 7.0  # seconds: longer than the server gives a statement or a lock, so that its answer is heard


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up a server that says nothing at all, with OperationalError.

    A frozen one keeps no time-out of its own, and TCP sees nothing wrong while the kernel below it still answers.
    """

    def wait(self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None) -> Result:
        try:
            return super().wait(gen, interval, SILENCE if timeout is None else timeout)
        except psycopg.OperationalError:
            if timeout is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()  # whose answer may yet come must not be asked anything else
            raise


def options(pool_size: int, *, bounded: bool) -> dict[str, Any]:
    """Django's OPTIONS; a migration, not `bounded`, may take longer than any request."""
    pool: dict[str, Any] = {"min_size": 1, "max_size": pool_size, "timeout": 5, "reconnect_timeout": 10}
    if not bounded:
        return {"pool": pool, "connect_timeout": 3}
    return {"pool": pool | {"connection_class": BoundedConnection}, "connect_timeout": 3, "options": TIMEOUTS}
