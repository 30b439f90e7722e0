"""The native format: one SSE frame for each event of the log. Contract section 4."""

from __future__ import annotations

from api.formats.base import wire_event, wire_json
from api.sse import HEARTBEAT, encode_frame, encode_retry
from broker.events import EVENT_TYPES, Entry, event_to_json, event_type
from broker.tail_items import Batch, Live, TailItem

_HEAD = {kind: f"id: %d-%d\nevent: {event_type(kind)}\ndata: %b\n\n".encode() for kind in EVENT_TYPES}
"""The frame of each kind of event: its JSON has no line end in it, so it is one line of data."""


class Native:
    """Stateless."""

    name = "native"
    shared = "native"
    media_type = "text/event-stream"
    direct = True
    headers = ()
    heartbeat = HEARTBEAT

    def preamble(self, retry_ms: int) -> bytes:
        """The reconnection time, inside the first frame and before its data."""
        return encode_retry(retry_ms)

    def frames(self, item: TailItem) -> list[bytes]:
        """One frame for each entry; wire-only events have no id."""
        if isinstance(item, Batch):
            return [_frame(entry) for entry in item.entries]
        return [_LIVE if isinstance(item, Live) else encode_frame(wire_json(item), event=wire_event(item)["type"])]


_LIVE = encode_frame(wire_json(Live()), event=wire_event(Live())["type"])


def _frame(entry: Entry) -> bytes:
    (epoch, seq), event = entry
    return _HEAD[type(event)] % (epoch, seq, event_to_json(event))
