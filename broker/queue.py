"""The queue as the enqueuing side sees it: arq's keys, written in one step, and the doorbell.

arq 0.28 reads the queue in the order of scores and skips scores in its own clock's future, so a score here comes from
a counter, never from a clock. Everything is idempotent by the generation's id.
"""

from __future__ import annotations

import json

from broker.keys import ARQ_IN_PROGRESS, ARQ_JOB, Keys
from broker.redis import Pipeline, Redis, unavailable

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

    async def enqueue(self, generation: str, *, life_ms: int) -> bool:
        """Queue a generation unless it is queued already, and ring the doorbell; ``life_ms``: TTL of arq's job key."""
        keys = self._keys
        job = job_to_bytes({"t": None, "f": TASK, "a": [generation], "k": {}, "et": 0})
        names = [keys.queue, keys.queue_score, ARQ_JOB + generation, keys.doorbell]
        with unavailable():
            return bool(await self._enqueue(keys=names, args=[generation, job, life_ms]))

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
