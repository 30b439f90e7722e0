"""Which generation a chat of the AI SDK stands for at present, and whether anybody still waits for it.

A page that comes back asks by the chat's id alone. Contract section 5: it is told that there is nothing when nothing
runs and the last answer's end has been written to some reader, or when that answer was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.keys import Keys
from broker.redis import Redis, text, unavailable

# Ids sort by the time of their making: of two submits that race, the later one stays, whichever comes here last.
_BEGIN = """
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -2)
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[2])))
"""

_SETTLE = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'settled', '1') end
"""


@dataclass(frozen=True, slots=True)
class Run:
    """``settled``: its end has been written to some reader, or it was stopped."""

    generation: str
    settled: bool


class Chats:
    """The chats on one server. Every method raises ``LogUnavailable`` when Redis is away."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._begin = redis.register_script(_BEGIN)
        self._settle = redis.register_script(_SETTLE)

    async def begin(self, tenant: str, chat: str, generation: str, life_ms: int) -> None:
        """From now on the chat stands for this generation, unless for one that was submitted later.

        ``life_ms``: for how long at least the chat is remembered.
        """
        with unavailable():
            await self._begin(keys=[self._keys.chat(tenant, chat)], args=[generation, life_ms])

    async def current(self, tenant: str, chat: str) -> Run | None:
        """What the chat stands for; None = nothing that we know of."""
        with unavailable():
            newest = await self._redis.zrevrangebylex(self._keys.chat(tenant, chat), "+", "-", start=0, num=1)
            if not newest:
                return None
            generation = text(newest[0])
            settled = await self._redis.hget(self._keys.job(generation), "settled")
        return Run(generation, settled is not None)

    async def settle(self, generation: str) -> None:
        """Its end has been written to some reader, or it was stopped: a page that comes back need not be shown it.

        The mark is the generation's own, so one that comes late says nothing of what the chat stands for by then.
        """
        with unavailable():
            await self._settle(keys=[self._keys.job(generation)], args=[])
