"""The native format: one SSE frame for each event of the log. Contract section 4."""

from __future__ import annotations

from operator import is_

from api.formats.base import wire_event, wire_json
from api.sse import HEARTBEAT, encode_frame, encode_retry
from broker.events import Entry, event_to_json, event_type
from broker.tail_items import Batch, TailItem


class Native:
    """Stateless but for one memo: viewers of one stream are handed the same entries, one viewer after the other."""

    name = "native"
    media_type = "text/event-stream"
    heartbeat = HEARTBEAT

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._frames: list[bytes] = []

    def preamble(self, retry_ms: int) -> bytes:
        """The reconnection time, inside the first frame and before its data."""
        return encode_retry(retry_ms)

    def frames(self, item: TailItem) -> list[bytes]:
        """One frame for each entry; wire-only events have no id."""
        if not isinstance(item, Batch):
            return [encode_frame(wire_json(item), event=wire_event(item)["type"])]
        entries, known = item.entries, self._entries
        if len(entries) != len(known) or not all(map(is_, entries, known)):
            self._entries, self._frames = entries, [_frame(entry) for entry in entries]
        return self._frames


def _frame(entry: Entry) -> bytes:
    position, event = entry
    return encode_frame(event_to_json(event), event_id=str(position), event=event_type(event))
