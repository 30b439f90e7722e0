"""The queue as it lies in Redis: arq's keys, each change and each taking in one step, and the doorbell.

arq 0.28 reads the queue in the order of scores and skips scores in its own clock's future, so a score here comes from
a counter, never from a clock. Everything is idempotent by the generation's id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from broker.keys import ARQ_IN_PROGRESS, ARQ_JOB, Keys
from broker.redis import Pipeline, Redis, text, unavailable

TASK = "generate"
"""The name by which a job travels."""

_ENQUEUE = """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[2]), ARGV[1])
redis.call('RPUSH', KEYS[4], ARGV[1])
redis.call('LTRIM', KEYS[4], -1000, -1)
return 1
"""

_TAKE = """
local marks, hold_ms, want, named = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local taken = {}
local function try(id)
  -- Nobody marks a job for longer than a lease: such a mark was set before the server's clock went back.
  local left = redis.call('PTTL', marks .. id)
  if left > 0 and left <= hold_ms then return end
  redis.call('SET', marks .. id, '1', 'PX', hold_ms)
  taken[#taken + 1] = id
end
if named then
  if redis.call('ZSCORE', KEYS[1], named) then try(named) end
  return { redis.call('ZCARD', KEYS[1]), 0, taken }
end
local at = 0
while true do
  local ids = redis.call('ZRANGE', KEYS[1], at, at + 99)
  for _, id in ipairs(ids) do
    if #taken >= want then return { redis.call('ZCARD', KEYS[1]), 1, taken } end
    try(id)
  end
  at = at + #ids
  if #ids < 100 then return { at, 0, taken } end
end
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a worker has marked as its own."""

    generations: list[str]
    more: bool
    """There may be more behind these that nobody runs."""
    standing: int
    """All jobs in the queue, those that run included."""


def job_to_bytes(job: dict[str, object]) -> bytes:
    """The serializer arq is given: JSON instead of its default, pickle.

    arq also gives it the errors of jobs that somebody took out of the queue, as results that nobody keeps.
    """
    return json.dumps(job, default=repr).encode()


def job_from_bytes(data: bytes) -> dict[str, object]:
    """The inverse of :func:`job_to_bytes`."""
    return json.loads(data)


class JobQueue:
    """Enqueue by id. Every method raises ``LogUnavailable`` when the queue's server is away."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._enqueue = redis.register_script(_ENQUEUE)
        self._take = redis.register_script(_TAKE)

    async def enqueue(self, generation: str, *, life_ms: int) -> bool:
        """Queue a generation unless it is queued already, and ring the doorbell; ``life_ms``: TTL of arq's job key."""
        keys = self._keys
        job = job_to_bytes({"t": None, "f": TASK, "a": [generation], "k": {}, "et": 0})
        names = [keys.queue, keys.queue_score, ARQ_JOB + generation, keys.doorbell]
        with unavailable():
            return bool(await self._enqueue(keys=names, args=[generation, job, life_ms]))

    async def take(self, want: int, *, hold_ms: int, named: str | None = None) -> Taken:
        """Mark jobs that nobody runs as ours for ``hold_ms``: up to ``want``, oldest first, or the ``named`` one."""
        args = [ARQ_IN_PROGRESS, hold_ms, want, *([] if named is None else [named])]
        with unavailable():
            standing, more, ids = await self._take(keys=[self._keys.queue], args=args)
        return Taken([text(name) for name in ids], bool(more), int(standing))

    async def hold(self, generations: Iterable[str], *, hold_ms: int) -> None:
        """Keep the marks of running jobs: hints, for the lease in the log is what counts."""
        with unavailable():
            pipe = self._redis.pipeline(transaction=False)
            for generation in generations:
                pipe.execute_command("SET", ARQ_IN_PROGRESS + generation, "1", "PX", hold_ms)
            await pipe.execute()

    async def hand_back(self, generation: str) -> None:
        """Let any worker take this queued job now."""
        with unavailable():
            pipe = self._redis.pipeline(transaction=True)
            pipe.delete(ARQ_IN_PROGRESS + generation)
            self._ring(pipe, generation)
            await pipe.execute()

    async def ring(self, generation: str) -> None:
        """Let an idle worker look at this queued job now."""
        with unavailable():
            pipe = self._redis.pipeline(transaction=True)
            self._ring(pipe, generation)
            await pipe.execute()

    def _ring(self, pipe: Pipeline, generation: str) -> None:
        pipe.rpush(self._keys.doorbell, generation)
        pipe.ltrim(self._keys.doorbell, -1000, -1)

    async def length(self) -> int:
        """Jobs that wait or run."""
        with unavailable():
            return int(await self._redis.zcard(self._keys.queue))

    async def contains(self, generations: list[str]) -> list[bool]:
        """Which of these stand in the queue."""
        if not generations:
            return []
        with unavailable():
            pipe = self._redis.pipeline(transaction=False)
            for generation in generations:
                pipe.zscore(self._keys.queue, generation)
            return [score is not None for score in await pipe.execute()]

    async def remove(self, generation: str) -> None:
        """Take out a generation that needs no worker any more."""
        with unavailable():
            pipe = self._redis.pipeline(transaction=True)
            pipe.zrem(self._keys.queue, generation)
            pipe.delete(ARQ_JOB + generation, ARQ_IN_PROGRESS + generation)
            await pipe.execute()
