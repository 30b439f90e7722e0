"""The peers by name, and which of them this machine can't run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.peers.install import litellm_missing, nchan_missing, resumable_stream_missing
from bench.peers.nchan import nchan, nchan_redis
from bench.peers.resumable_stream import resumable_stream
from bench.systems import MakeSystem


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else's server."""

    make: MakeSystem
    missing: Callable[[], str | None]
    """Why it can't run here; ``None`` = it can."""


PEERS: dict[str, Peer] = {
    "nchan": Peer(nchan, nchan_missing),
    "nchan-redis": Peer(nchan_redis, nchan_missing),
    "resumable-stream": Peer(resumable_stream, resumable_stream_missing),
}


PROXIES: dict[str, Callable[[], str | None]] = {"litellm": litellm_missing}
"""What takes part only where providers are asked through it, and why it can't run here."""


def installed() -> list[str]:
    """The peers that can run here."""
    return [name for name, peer in PEERS.items() if peer.missing() is None]


def skipped() -> dict[str, str]:
    """The others, and why."""
    missing = {name: peer.missing for name, peer in PEERS.items()} | PROXIES
    return {name: why for name, reason in missing.items() if (why := reason()) is not None}
