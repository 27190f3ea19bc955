"""How webhooks are delivered: as Stripe does, or as a caller must also survive."""

from dataclasses import dataclass

MODES = ("normal", "delay", "hold", "duplicate", "drop", "reverse")


@dataclass(frozen=True)
class Mode:
    """How events of `types` (all when empty) are delivered from now on."""

    mode: str = "normal"
    seconds: float = 1.0  # delay: how late; reverse: how long events are collected
    times: int = 2  # duplicate: copies in all
    types: tuple[str, ...] = ()

    def concerns(self, event_type: str) -> bool:
        return not self.types or event_type in self.types
