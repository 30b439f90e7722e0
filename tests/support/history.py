"""The history checker: clients only record, a pure function names what went wrong.

Used by integration tests, chaos and bench alike. Each anomaly has one name: lost, duplicate, reorder, gap, phantom,
after-end, false-end, stuck, mixed-attempt, foreign, unpaid-cancel.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Name: TypeAlias = Literal[
    "lost",
    "duplicate",
    "reorder",
    "gap",
    "phantom",
    "after-end",
    "false-end",
    "stuck",
    "mixed-attempt",
    "foreign",
    "unpaid-cancel",
]

TERMINAL = frozenset({"generation.completed", "generation.failed", "generation.cancelled"})
DELTAS = frozenset({"text.delta", "reasoning.delta", "refusal.delta", "tool_call.delta"})


@dataclass(frozen=True)
class Seen:
    """One event as a viewer got it: its id (None for wire-only events) and its JSON."""

    id: str | None
    event: dict[str, Any]

    @property
    def kind(self) -> str:
        """Its type."""
        return str(self.event.get("type"))

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and seq."""
        epoch, _, seq = (self.id or "0-0").partition("-")
        return int(epoch), int(seq)


@dataclass
class Viewer:
    """All that one viewer got over all its connections, in order; ``clean_ends`` counts bodies that ended cleanly."""

    name: str
    generation: str
    seen: list[Seen] = field(default_factory=list[Seen])
    clean_ends: int = 0
    gave_up: bool = False
    """The viewer stopped waiting before a terminal event came."""


@dataclass(frozen=True)
class Paid:
    """One call as the provider saw it; times on one clock with :attr:`Facts.cancelled`, in seconds."""

    generation: str
    started_at: float
    closed_at: float | None
    """When its socket was closed, by either side; None = open still."""


@dataclass(frozen=True)
class Anomaly:
    """One thing that must not happen."""

    name: Name
    viewer: str
    detail: str


Log: TypeAlias = Sequence[Seen]


@dataclass(frozen=True)
class Facts:
    """What is known from elsewhere, where a test knows it."""

    forks: Mapping[str, Sequence[Log]] = field(default_factory=dict[str, Sequence[Log]])
    """Further histories that a generation's log has had: a server that forgot made the log go another way. A viewer
    must fit into one of them whole."""
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the provider says to it. Nobody may be left with anything but its beginning, or, completed, all of it."""
    gone: Collection[str] = frozenset()
    """Generations that were erased: nobody can be shown their end."""
    cancelled: Mapping[str, float] = field(default_factory=dict[str, float])
    """When the end of a cancelled generation was known."""
    paid: Sequence[Paid] = ()
    cancel_bound_s: float = 1.0
    """How long after that a provider's call may still run."""


def check(
    viewers: Sequence[Viewer], truth: Mapping[str, Log] | None = None, facts: Facts | None = None
) -> list[Anomaly]:
    """Every anomaly in these histories; ``truth`` is each generation's whole log, read exactly after the end."""
    facts = facts or Facts()
    found: list[Anomaly] = []
    for viewer in viewers:
        gone = viewer.generation in facts.gone
        found += _check_order(viewer)
        found += _check_end(viewer, gone=gone)
        if viewer.generation in facts.texts:
            found += _check_text(viewer, facts.texts[viewer.generation])
        if truth is not None and not gone:
            logs = [truth.get(viewer.generation, ()), *facts.forks.get(viewer.generation, ())]
            found += min((_check_truth(viewer, log) for log in logs), key=len)
    return found + _check_paid(facts)


def _check_paid(facts: Facts) -> list[Anomaly]:
    found: list[Anomaly] = []
    for call in facts.paid:
        at = facts.cancelled.get(call.generation)
        if at is None:
            continue
        bound = max(at, call.started_at) + facts.cancel_bound_s
        if call.closed_at is None or call.closed_at > bound:
            late = "never" if call.closed_at is None else f"{call.closed_at - at:.2f} s after the cancel"
            found.append(Anomaly("unpaid-cancel", call.generation, f"the provider's socket was closed {late}"))
    return found


def _check_text(viewer: Viewer, whole: str) -> list[Anomaly]:
    got = answer(_since_reset(viewer))
    completed = any(seen.kind == "generation.completed" for seen in viewer.seen)
    if got == whole or (not completed and whole.startswith(got)):
        return []
    name: Name = "lost" if whole.startswith(got) else "mixed-attempt"
    return [Anomaly(name, viewer.name, f"left with {got[-60:]!r} ({len(got)} of {len(whole)} characters)")]


def _check_order(viewer: Viewer) -> list[Anomaly]:
    found: list[Anomaly] = []
    at = (0, 0)
    ended = False
    for seen in viewer.seen:
        if seen.kind == "stream.reset":
            at, ended = (0, 0), False
        if seen.id is None:
            continue
        if ended:
            found.append(Anomaly("after-end", viewer.name, f"{seen.id} after the terminal event"))
        name = _step(at, seen)
        if name is not None:
            found.append(Anomaly(name, viewer.name, f"{seen.id} after {at[0]}-{at[1]}"))
        at = seen.position
        ended = seen.kind in TERMINAL
        if seen.kind == "generation.created" and seen.event["generation"]["id"] != viewer.generation:
            found.append(Anomaly("foreign", viewer.name, f"{seen.id} belongs to {seen.event['generation']['id']}"))
    return found


def _step(at: tuple[int, int], seen: Seen) -> Name | None:
    """What is wrong with going from a position to this event."""
    epoch, seq = seen.position
    before = seq - int(seen.event.get("merged") or 1)
    if (epoch, seq) == at:
        return "duplicate"
    if seq <= at[1] or epoch < at[0]:
        return "reorder"
    if before > at[1]:
        return "gap"
    return "duplicate" if before < at[1] else None


def _check_end(viewer: Viewer, *, gone: bool) -> list[Anomaly]:
    ended = any(seen.kind in TERMINAL for seen in viewer.seen)
    found: list[Anomaly] = []
    if viewer.clean_ends > 1 or (viewer.clean_ends and not ended):
        found.append(Anomaly("false-end", viewer.name, f"{viewer.clean_ends} clean ends"))
    if viewer.gave_up and not ended and not gone:
        found.append(Anomaly("stuck", viewer.name, f"no terminal event; {len(viewer.seen)} events seen"))
    return found


def _check_truth(viewer: Viewer, truth: Log) -> list[Anomaly]:
    found: list[Anomaly] = []
    known = {seen.id: seen for seen in truth}
    since = _since_reset(viewer)
    found += [
        Anomaly("phantom", viewer.name, f"{seen.id} {seen.kind} is not in the log")
        for seen in since
        if seen.id not in known
    ]
    if found:
        return found
    if any(seen.kind in TERMINAL for seen in since):
        if since and since[-1].position[1] < truth[-1].position[1]:
            found.append(Anomaly("lost", viewer.name, f"ends at {since[-1].id}, the log at {truth[-1].id}"))
        expected, got = answer(truth), answer(since)
        if since and since[0].position[1] - int(since[0].event.get("merged") or 1) == 0 and got != expected:
            name: Name = "mixed-attempt" if len(got) > len(expected) else "lost"
            found.append(Anomaly(name, viewer.name, f"answer {got!r:.80} is not {expected!r:.80}"))
    return found


def _since_reset(viewer: Viewer) -> list[Seen]:
    kept: list[Seen] = []
    for seen in viewer.seen:
        if seen.kind == "stream.reset":
            kept = []
        elif seen.id is not None:
            kept.append(seen)
    return kept


def answer(events: Sequence[Seen]) -> str:
    """The text that a client is left with: a restart voids what came before."""
    text = ""
    for seen in events:
        if seen.kind == "generation.started" and seen.event.get("mode") == "restart":
            text = ""
        elif seen.kind == "text.delta":
            text += seen.event["text"]
    return text
