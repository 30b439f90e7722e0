"""Newline-delimited JSON: one ``{"id": …, "event": {…}}`` a line. Contract section 4."""

from __future__ import annotations

from api.formats.base import wire_json
from broker.events import Entry, event_to_json
from broker.tail_items import Batch, TailItem


class NDJSON:
    """Stateless."""

    name = "ndjson"
    shared = "ndjson"
    media_type = "application/x-ndjson"
    direct = True
    headers = ()
    heartbeat = b'{"id":null,"event":{"type":"stream.heartbeat"}}\n'

    def preamble(self, retry_ms: int) -> bytes:
        """Nothing: this format has no word for a reconnection time."""
        del retry_ms
        return b""

    def frames(self, item: TailItem) -> list[bytes]:
        """One line for each entry; wire-only events have a null id."""
        if isinstance(item, Batch):
            return [_line(entry) for entry in item.entries]
        return [b'{"id":null,"event":%s}\n' % wire_json(item)]


def _line(entry: Entry) -> bytes:
    return b'{"id":"%d-%d","event":%s}\n' % (*entry.position, event_to_json(entry.event))
