"""Typed wrappers over ``lua/*.lua``: one script per state change, the only writers of a generation's keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Literal, NamedTuple

from broker.keys import Keys
from broker.lane import Lane
from broker.packed import AppendHead, AppendReply, Fence, FieldValue, append_head, append_reply
from broker.position import Position
from broker.redis import Redis, text, unavailable
from broker.safety import Safety

_LUA = files("broker") / "lua"
_NEEDS_COMPARE = frozenset({"append", "end"})


def source(name: str) -> str:
    """The text of one script with what it stands on."""
    parts = ["common", "compare", name] if name in _NEEDS_COMPARE else ["common", name]
    if name == "append":
        parts = ["swift", *parts]
    return "\n".join((_LUA / f"{part}.lua").read_text() for part in parts)


@dataclass(frozen=True, slots=True)
class Creation:
    """What :meth:`Scripts.create` stores."""

    tenant: str
    model: str
    metadata: bytes
    head: bytes
    request: bytes
    deadline_ms: int
    retention_ms: int
    tombstone_ms: int
    on_worker_loss: str
    cancel_after_ms: int | None
    idempotency: str


class UpstreamAnswer(NamedTuple):
    """An answer that its provider makes whether or not anybody listens: docs/adr/0016."""

    id: str
    """The provider's."""
    attempt: int
    """Of the ``generation.started`` (or a later one) behind which the log holds nothing but this answer."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A log that is ours to write."""

    epoch: int
    top: Position
    attempt: int
    cancel: str
    deadline_ms: int
    """Milliseconds left until the deadline; may be negative."""
    on_worker_loss: str
    losses: int
    request: bytes = b""
    """As :meth:`Scripts.create` stored it; empty where it is lost."""
    upstream: UpstreamAnswer | None = None
    """What an earlier owner has left under way."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a claim was not granted; ``wait_ms`` for ``busy``."""

    kind: Literal["busy", "ended", "gone", "lost"]
    wait_ms: int = 0
    upstream: UpstreamAnswer | None = None
    """What may still be under way although the log has ended."""
    request: bytes = b""
    """As in :class:`Claim`, beside ``upstream``."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The terminal event, in the parts the script needs."""

    status: str
    head: bytes
    """The event's JSON without its closing brace and without ``timing``, which the script adds."""
    output_tokens: int | None = None
    usage: bytes = b""
    error: bytes = b""
    finish_reason: str = ""


class Scripts:
    """The scripts on one server. Every method raises :class:`broker.errors.LogUnavailable` when Redis is away."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        safety: Safety | None = None,
        *,
        patient: Redis | None = None,
        lane: Lane | None = None,
    ) -> None:
        self._patient = patient or redis
        """The client for commands that keep their connection waiting."""
        self.lane = lane
        """Where :meth:`post_append` can be used."""
        self._safety = safety or Safety()
        self._keys = keys
        names = ("create", "claim", "append", "end", "cancel", "release", "delete", "watch", "upstream")
        self._scripts = {name: redis.register_script(source(name)) for name in names}

    async def _run(self, name: str, keys: Sequence[str], *args: Any) -> Any:
        with unavailable():
            return await self._scripts[name](keys=keys, args=args)

    async def _run_safely(self, name: str, keys: Sequence[str], *args: Any) -> tuple[Any, bool]:
        """The reply, and whether what was written has arrived where it must."""
        command = self._safety.command()
        if command is None:
            return await self._run(name, keys, *args), True
        with unavailable():
            pipe = self._patient.pipeline(transaction=False)
            await self._scripts[name](keys=keys, args=args, client=pipe)
            pipe.execute_command(*command)
            reply, arrived = await pipe.execute()
        return reply, self._safety.kept(arrived)

    def _log_keys(self, generation: str) -> list[str]:
        keys = self._keys
        return [keys.job(generation), keys.log(generation), keys.request(generation)]

    async def create(self, generation: str, creation: Creation) -> tuple[bool, int]:
        """Commit a generation; answers whether it is new, and its creation time in ms."""
        c = creation
        kind, created = await self._run(
            "create",
            self._log_keys(generation),
            *(c.tenant, c.model, c.metadata, c.head, c.request, c.deadline_ms, c.retention_ms, c.tombstone_ms),
            *(c.on_worker_loss, "" if c.cancel_after_ms is None else c.cancel_after_ms, c.idempotency),
        )
        return kind == b"created", int(created)

    async def claim(
        self, generation: str, owner: str, *, lease_ms: int, max_attempts: int, whole_ms: int, lost: tuple[bytes, bytes]
    ) -> Claim | Refusal:
        """Become the one writer; ``lost`` is the head and the error of the event that ends a log out of attempts."""
        keys = self._log_keys(generation)
        args = (owner, lease_ms, max_attempts, whole_ms, self._keys.channel(generation), *lost)
        reply = await self._run("claim", keys, *args)
        kind: Any = text(reply[0])
        if kind == "busy":
            return Refusal(kind, int(reply[1]))
        if kind != "claimed":
            return Refusal(kind, 0, _upstream(reply[1]), reply[2]) if len(reply) > 1 else Refusal(kind)
        epoch, top, seq, attempt, cancel, deadline, policy, losses = map(text, reply[1:-2])
        return Claim(
            epoch=int(epoch),
            top=Position(int(top), int(seq)),
            attempt=int(attempt),
            cancel=cancel,
            deadline_ms=int(deadline),
            on_worker_loss=policy,
            losses=int(losses),
            request=reply[-1],
            upstream=_upstream(reply[-2]),
        )

    async def keep_upstream(self, generation: str, fence: Fence, upstream: UpstreamAnswer) -> bool:
        """Keep where the answer is made, for whoever claims the log next; answers whether it is still ours."""
        keys = [self._keys.job(generation)]
        args = (fence.owner, fence.epoch, f"{upstream.attempt} {upstream.id}")
        return bool(await self._run("upstream", keys, *args))

    async def append(
        self,
        generation: str,
        fence: Fence,
        first: int,
        entries: Sequence[FieldValue],
        *,
        lease_ms: int | None,
        started: str = "",
        first_token: bool = False,
    ) -> AppendReply:
        """Append entries ``first`` …, renew the lease, tell the viewers; without entries only renew.

        ``lease_ms`` None leaves the lease as it is.

        ``started``: mode and attempt, when the first of the entries is a ``generation.started``.
        """
        lease = "" if lease_ms is None else lease_ms
        mark = "1" if first_token else ""
        flat = [part for entry in entries for part in entry]
        args = (fence.owner, fence.epoch, first, lease, self._keys.channel(generation), started, mark, *flat)
        return append_reply(await self._run("append", self._log_keys(generation), *args))

    def append_head(self, generation: str, fence: Fence) -> AppendHead:
        """What all posted appends of one owner have in common, packed once."""
        script: Any = self._scripts["append"]
        return append_head(script.sha, self._log_keys(generation), fence, self._keys.channel(generation))

    def post_append(self, command: bytes, done: Callable[[Any], None]) -> None:
        """Send what :func:`broker.packed.pack_append` made, without waiting.

        ``done`` gets what :func:`broker.packed.read_append` reads. Raises ``RuntimeError`` without a lane.
        """
        if self.lane is None:
            raise RuntimeError("there is no lane to post on")
        self.lane.post(command, done)

    async def end(
        self,
        generation: str,
        fence: Fence,
        first: int,
        entries: Sequence[FieldValue],
        ending: Ending,
        *,
        first_token: bool = False,
    ) -> AppendReply:
        """Append the last entries and the terminal one."""
        flat = [part for entry in entries for part in entry]
        tokens = "" if ending.output_tokens is None else ending.output_tokens
        args = (fence.owner, fence.epoch, first, self._keys.channel(generation), ending.status, ending.head, tokens)
        more = (ending.usage, ending.error, ending.finish_reason, "1" if first_token else "")
        reply, kept = await self._run_safely("end", self._log_keys(generation), *args, *more, *flat)
        return replace(append_reply(reply), kept=kept)

    async def cancel(
        self, generation: str, reason: str, head: bytes
    ) -> Literal["gone", "ended", "asked", "cancelled", "left"]:
        """Ask the owner to stop, or end the log where it has none; ``left``: so, and an answer goes on upstream."""
        keys = self._keys
        args = (reason, keys.channel(generation), keys.control, head, generation)
        reply, _ = await self._run_safely("cancel", self._log_keys(generation), *args)
        return text(reply[0])  # pyright: ignore[reportReturnType]

    async def release(self, generation: str, fence: Fence) -> bool:
        """Hand over; answers whether the log was still ours."""
        return bool(await self._run("release", [self._keys.job(generation)], fence.owner, fence.epoch))

    async def delete(self, generation: str, head: bytes) -> Literal["gone", "cancelled", "erased"]:
        """End the log if need be, and erase it."""
        keys = self._keys
        names = [*self._log_keys(generation), keys.viewers(generation)]
        reply = await self._run("delete", names, keys.channel(generation), keys.control, head, generation)
        return text(reply[0])  # pyright: ignore[reportReturnType]

    async def watch(self, generation: str, node: str = "", hold_ms: int | None = None) -> tuple[int, int]:
        """Take (``hold_ms``), give back (0) or only look at (None) a viewers' lease.

        Answers how many ms nobody has watched, -1 where it does not matter, and after how many the request cancels.
        """
        keys = self._keys
        names = [keys.job(generation), keys.log(generation), keys.viewers(generation)]
        unwatched, limit = await self._run("watch", names, node, "" if hold_ms is None else hold_ms)
        return int(unwatched), int(limit)


def _upstream(kept: bytes) -> UpstreamAnswer | None:
    attempt, _, name = text(kept).partition(" ")
    return UpstreamAnswer(name, int(attempt)) if name else None
