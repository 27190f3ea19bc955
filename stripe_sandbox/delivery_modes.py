"""The ways in which webhooks can be delivered: normally, or with a fault that a site must survive."""

from dataclasses import dataclass

MODES = ("normal", "delay", "hold", "duplicate", "drop", "reverse")


@dataclass(frozen=True)
class Mode:
    """How events of `types` are delivered from now on; an empty `types` means all."""

    mode: str = "normal"
    seconds: float = 1.0  # in mode delay, how late; in mode reverse, how long events are collected
    times: int = 2  # in mode duplicate, how often each event is sent
    types: tuple[str, ...] = ()

    def concerns(self, event_type: str) -> bool:
        return not self.types or event_type in self.types
