"""How long to wait before the next try: exponential, with full jitter, bounded by the time without progress. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Patience:
    """How a client bears with a server that is away. All values are seconds."""

    give_up_after_s: float = 120.0
    """Time without progress after which a stream gives up."""
    request_give_up_after_s: float = 15.0
    """The same for a plain request."""
    base_s: float = 0.5
    """Upper bound of the first wait, until the server has named its own by ``retry:``."""
    cap_s: float = 15.0
    """No wait that the client picks itself is longer."""
    stall_s: float = 45.0
    """Silence on an open stream that counts as a cut: three of the server's heartbeats."""
    connect_s: float = 5.0
    """Time that a connection may take to open."""


@dataclass(slots=True)
class Backoff:
    """The waits of one stream or one request; :meth:`success` starts them again from the smallest."""

    patience: Patience
    random: Callable[[], float] = field(default=random.random)
    retry_s: float | None = None
    """The server's ``retry:``; it takes the place of ``base_s``."""
    failures: int = 0

    def success(self) -> None:
        """Progress was made: the next wait is a first one again."""
        self.failures = 0

    def next_delay(self, retry_after_s: float | None = None) -> float:
        """Seconds to wait now: uniform in [0, base x 2^n], and on top of ``Retry-After`` where the server sent one."""
        base = self.retry_s if self.retry_s is not None else self.patience.base_s
        ceiling = min(self.patience.cap_s, base * 2 ** min(self.failures, 30))
        self.failures += 1
        return max(retry_after_s or 0.0, 0.0) + self.random() * ceiling


def parse_retry_after(value: str | None) -> float | None:
    """The seconds of a ``Retry-After`` header; ``None`` where it is absent, a date, or out of all reason (> 1 hour)."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > len("3600"):
        return None
    return min(float(value), 3600.0)
