"""Limits how many requests an API key or an address may make. Each process counts for itself."""

import threading
import time
from collections import OrderedDict

MOST_NAMES = 10_000  # that are counted at once; the name that was used longest ago is then forgotten


class Rate:
    """Lets each name make `per_minute` requests at once, and `per_minute` a minute on average."""

    def __init__(self) -> None:
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by name: how many, and since when
        self._lock = threading.Lock()

    def wait(self, name: str, per_minute: int) -> float:
        """Count a request of `name`, and return 0, or the seconds until `name` may make one if it made too many."""
        now = time.monotonic()
        with self._lock:
            allowance, since = self._allowances.pop(name, (float(per_minute), now))
            allowance = min(per_minute, allowance + (now - since) * per_minute / 60)
            allowed = allowance >= 1
            self._allowances[name] = (allowance - allowed, now)
            if len(self._allowances) > MOST_NAMES:
                self._allowances.popitem(last=False)
        return 0.0 if allowed else (1 - allowance) * 60 / per_minute

    def forget(self) -> None:
        """Forget all that was counted."""
        with self._lock:
            self._allowances.clear()
