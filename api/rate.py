"""How often someone may ask: the generic cell rate algorithm. Pure; the time is an argument."""

from __future__ import annotations

from typing import Self

_WINDOWS_S = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
_MAX_KEYS = 10_000


class RateLimiter:
    """``limit`` requests in a burst, and ``limit`` per window in the long run, for each key on its own.

    Memory: one number for each key that is in debt.
    """

    def __init__(self, limit: int, window_s: float) -> None:
        self._cost_s = window_s / limit
        self._window_s = window_s
        self._paid_until: dict[str, float] = {}

    def __len__(self) -> int:
        """How many keys it remembers."""
        return len(self._paid_until)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``60/minute``."""
        limit, _, unit = text.partition("/")
        return cls(int(limit), _WINDOWS_S[unit])

    def hit(self, keys: tuple[str, ...], now: float) -> float:
        """Count one request under all keys and return 0, or count nothing and return the seconds to wait."""
        wait_s = max(self._paid_until.get(key, now) + self._cost_s - now - self._window_s for key in keys)
        # A millionth of a second: sums of floats must not cost anybody a request.
        if wait_s > 1e-6:
            return wait_s
        for key in keys:
            self._paid_until[key] = max(self._paid_until.get(key, now), now) + self._cost_s
        if len(self._paid_until) > _MAX_KEYS:
            self._paid_until = {key: until for key, until in self._paid_until.items() if until > now}
        return 0.0

    def refund(self, keys: tuple[str, ...]) -> None:
        """Take one request back: it turned out to be none."""
        for key in keys:
            if key in self._paid_until:
                self._paid_until[key] -= self._cost_s
