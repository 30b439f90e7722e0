"""What a wire format is: a pure fold from what a tail yields to pieces of the body."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from broker.tail_items import Live, Reset, TailItem


class Format(Protocol):
    """One reader's view of a log. Formats without a memory may share one instance among all readers."""

    @property
    def name(self) -> str:
        """The value of ``?format=``."""
        ...

    @property
    def media_type(self) -> str:
        """The body's Content-Type."""
        ...

    @property
    def shared(self) -> str | None:
        """Under which name all readers of this format share the bytes of a batch; None = each has its own."""
        ...

    @property
    def heartbeat(self) -> bytes:
        """What is written after a silence; empty = this format has no word for it."""
        ...

    def preamble(self, retry_ms: int) -> bytes:
        """What stands in front of the first frame, in the same write."""
        ...

    def frames(self, item: TailItem) -> list[bytes]:
        """The frames of one item, each whole; the next item of the log must be the next one given.

        Raises:
            VoidAttempt: when what this reader has been sent is void and the format has no word to say so.
        """
        ...


class VoidAttempt(Exception):
    """The reader holds text of an attempt that is void now: break off, never glue two answers together."""


def wire_event(item: Live | Reset) -> dict[str, Any]:
    """The event that exists only on the wire and moves no cursor."""
    if isinstance(item, Reset):
        return {"type": "stream.reset", "reason": item.reason}
    return {"type": "stream.live"}


def wire_json(item: Live | Reset) -> bytes:
    """The same as one line of JSON."""
    return msgspec.json.encode(wire_event(item))
