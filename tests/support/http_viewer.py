"""A viewer over HTTP that records all it gets, connection by connection, for the history checker."""

from __future__ import annotations

import json
from collections.abc import Iterable

import httpx2

from tests.support.history import TERMINAL, Seen, Viewer
from tests.support.whatwg import EventSourceParser


async def watch_once(
    http: httpx2.AsyncClient, url: str, viewer: Viewer, *, cut_after: int | None = None, replay: str = "merged"
) -> int | None:
    """One connection, resumed by ``Last-Event-ID``; hangs up after ``cut_after`` events with an id.

    Answers the status, or None when the connection broke.
    """
    last = next((seen.id for seen in reversed(viewer.seen) if seen.id), None)
    headers = {"last-event-id": last} if last else {}
    path = f"{url}/v1/generations/{viewer.generation}/events"
    taken = 0
    try:
        async with http.stream("GET", path, headers=headers, params={"replay": replay}) as response:
            parser = EventSourceParser()
            async for chunk in response.aiter_raw():
                for seen in _seen(parser, chunk):
                    viewer.seen.append(seen)
                    taken += seen.id is not None
                    if cut_after is not None and taken >= cut_after:
                        return response.status_code
            viewer.clean_ends += response.status_code == 200
            return response.status_code
    except httpx2.HTTPError:
        return None


def _seen(parser: EventSourceParser, chunk: bytes) -> Iterable[Seen]:
    for event in parser.feed(chunk):
        wire_only = event.type.startswith("stream.")
        yield Seen(None if wire_only else event.last_event_id, json.loads(event.data))


def ended(viewer: Viewer) -> bool:
    """Whether the viewer has the terminal event."""
    return bool(viewer.seen) and viewer.seen[-1].kind in TERMINAL
