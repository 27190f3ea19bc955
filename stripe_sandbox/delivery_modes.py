"""The modes of webhook delivery: normal, or with a fault such as delays or duplicates."""

from dataclasses import dataclass

MODES = ("normal", "delay", "hold", "duplicate", "drop", "reverse")


@dataclass(frozen=True)
class Mode:
    """A mode of webhook delivery for the event types in `types`; empty `types` mean every event type."""

    mode: str = "normal"
    seconds: float = 1.0  # in mode delay, how late; in mode reverse, how long events are collected
    times: int = 2  # in mode duplicate, how often each event is sent
    types: tuple[str, ...] = ()

    def concerns(self, event_type: str) -> bool:
        return not self.types or event_type in self.types
