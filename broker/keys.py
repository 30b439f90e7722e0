"""The only place where a Redis key or channel is spelled.

Keys of one generation carry its id as hash tag, so that one script may touch them all on a cluster. Every key gets a
TTL with its first write, except :data:`PERMANENT`: the queue and indexes that prune themselves.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

PERMANENT = ("queue", "queue:score", "doorbell", "active", "tenant:*", "stats")
"""Names, behind the prefix, of keys without TTL: bounded, as entries leave when their generation ends or expires."""

ARQ_JOB = "arq:job:"
ARQ_IN_PROGRESS = "arq:in-progress:"
"""arq's own keys, each ending in a generation's id (arq 0.28, ``arq.constants``)."""


@dataclass(frozen=True, slots=True)
class Keys:
    """All names below one prefix (``REJOINDER_KEY_PREFIX``)."""

    prefix: str

    def job(self, generation: str) -> str:
        """Hash: status, owner, lease, times, usage."""
        return f"{self.prefix}:{{{generation}}}"

    def log(self, generation: str) -> str:
        """Stream: the events."""
        return f"{self.prefix}:{{{generation}}}:log"

    def request(self, generation: str) -> str:
        """String: the request as JSON."""
        return f"{self.prefix}:{{{generation}}}:request"

    def viewers(self, generation: str) -> str:
        """Sorted set: node -> Redis time in ms until which it has a viewer."""
        return f"{self.prefix}:{{{generation}}}:viewers"

    def channel(self, generation: str) -> str:
        """Channel: notices of new entries."""
        return f"{self.prefix}:{{{generation}}}:notices"

    @property
    def control(self) -> str:
        """Channel: ids whose worker should look at its cancel flag."""
        return f"{self.prefix}:control"

    def idempotency(self, tenant: str, key: str) -> str:
        """String: the generation that this tenant's Idempotency-Key stands for."""
        digest = hashlib.sha256(f"{tenant}\0{key}".encode()).hexdigest()
        return f"{self.prefix}:idempotency:{digest}"

    def retry(self, tenant: str, digest: str) -> str:
        """String: the generation that the last try of this request by this tenant made."""
        name = hashlib.sha256(f"{tenant}\0{digest}".encode()).hexdigest()
        return f"{self.prefix}:retry:{name}"

    def chat(self, tenant: str, chat: str) -> str:
        """Sorted set with one member: the generation that this chat of the AI SDK stands for."""
        digest = hashlib.sha256(f"{tenant}\0{chat}".encode()).hexdigest()
        return f"{self.prefix}:chat:{digest}"

    @property
    def active(self) -> str:
        """Sorted set: generations that may not have ended; score = when the sweeper first saw it ended, else 0."""
        return f"{self.prefix}:active"

    def tenant(self, tenant: str) -> str:
        """Sorted set: a tenant's generations by the time of their creation."""
        return f"{self.prefix}:tenant:{tenant}"

    @property
    def sweeper(self) -> str:
        """String: who sweeps at present."""
        return f"{self.prefix}:sweeper"

    @property
    def stats(self) -> str:
        """Hash: counters of the fleet."""
        return f"{self.prefix}:stats"

    @property
    def queue(self) -> str:
        """Sorted set: arq's queue."""
        return f"{self.prefix}:queue"

    @property
    def queue_score(self) -> str:
        """Counter: the order of the queue."""
        return f"{self.prefix}:queue:score"

    @property
    def doorbell(self) -> str:
        """List: one element per enqueued job, to wake an idle worker."""
        return f"{self.prefix}:doorbell"

    @property
    def health(self) -> str:
        """String with TTL: arq's own record of a worker's health."""
        return f"{self.prefix}:queue:health"
