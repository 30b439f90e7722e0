"""A packed append says the same words as the script's ordinary call, in whatever shape it is packed."""

from __future__ import annotations

from typing import Any

import hiredis
from hypothesis import given
from hypothesis import strategies as st

from broker.packed import AppendReply, Fence, append_head, append_reply, pack_append, read_append
from broker.position import Position

_ENTRIES = st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=40)), max_size=4)


def words(command: bytes) -> list[bytes]:
    """A command as Redis reads it; all of it must be one."""
    reader: Any = hiredis.Reader()
    reader.feed(command)
    said = reader.gets()
    assert reader.gets() is False
    return said


@given(
    first=st.integers(1, 10**12),
    entries=_ENTRIES,
    lease_ms=st.none() | st.integers(0, 10**6),
    started=st.sampled_from(["", "restart 1", "continue 12"]),
    first_token=st.booleans(),
    owner=st.text(max_size=8),
)
def test_a_packed_append_is_the_scripts_own_call(
    first: int, entries: list[tuple[bytes, bytes]], lease_ms: int | None, started: str, first_token: bool, owner: str
) -> None:
    """Word by word what ``Scripts.append`` sends."""
    head = append_head("5ha", ["job", "log", "request"], Fence(owner, 17), "channel")
    packed = pack_append(head, first, entries, lease_ms=lease_ms, started=started, first_token=first_token)
    lease = b"" if lease_ms is None else str(lease_ms).encode()
    mark = b"1" if first_token else b""
    flat = [part for entry in entries for part in entry]
    names = [b"EVALSHA", b"5ha", b"3", b"job", b"log", b"request"]
    args = [owner.encode(), b"17", str(first).encode(), lease, b"channel", started.encode(), mark]
    assert words(packed) == [*names, *args, *flat]


def test_the_script_s_replies_are_read() -> None:
    """Each kind with what belongs to it; an error is none, for the script may have run or not."""
    assert append_reply([b"ok", b""]) == AppendReply("ok")
    assert append_reply([b"ok"]) == AppendReply("ok")
    assert append_reply([b"ok", b"client"]) == AppendReply("ok", cancel="client")
    assert append_reply([b"behind", b"17", b"4"]) == AppendReply("behind", top=Position(17, 4))
    assert append_reply([b"fenced"]) == AppendReply("fenced")
    assert read_append(ConnectionError("gone")) is None
