"""Where the end of a generation must have arrived before it counts as kept: WAIT and WAITAOF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from broker.settings import Settings


@dataclass(frozen=True, slots=True)
class Safety:
    """Where a terminal entry must have arrived before it counts as kept, and for how long that is waited for."""

    replicas: int = 0
    aof: bool = False
    wait_ms: int = 1000

    @classmethod
    def of(cls, settings: Settings) -> Safety:
        """As configured."""
        return cls(settings.wait_replicas, settings.wait_aof, int(settings.wait_s * 1000))

    def command(self) -> tuple[str | int, ...] | None:
        """What to send behind the script, on its connection; None = nothing more than Redis's own promise is wanted."""
        if self.aof:
            return ("WAITAOF", 1, self.replicas, self.wait_ms)
        return ("WAIT", self.replicas, self.wait_ms) if self.replicas else None

    def kept(self, reply: Any) -> bool:
        """Whether the command's reply says that it has arrived."""
        if self.aof:
            return int(reply[0]) >= 1 and int(reply[1]) >= self.replicas
        return int(reply) >= self.replicas
