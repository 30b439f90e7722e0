"""The client over every kind of cut, against a server that is scripted to the byte."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from broker.errors import InvalidPosition
from rejoinder.backoff import Patience
from rejoinder.client import Client
from rejoinder.failures import GaveUp, Refused, StreamBroken, Unreachable
from rejoinder.ports import free_port
from rejoinder.stream_event import StreamEvent
from rejoinder.streaming import Lost, Note, Opened
from tests.cli.stub import (
    EOF,
    HANG,
    RESET,
    Answer,
    Stub,
    as_json,
    completed,
    frame,
    problem,
    record,
    started,
    stream,
    text,
)

QUICK = Patience(base_s=0.01, cap_s=0.05, give_up_after_s=5, request_give_up_after_s=2)
MakeClient = Callable[..., Client]


@pytest.fixture
async def clients() -> AsyncIterator[MakeClient]:
    """Makes clients that are closed at the end."""
    async with AsyncExitStack() as stack:

        def make(*stubs: Stub, patience: Patience = QUICK, api_key: str | None = None) -> Client:
            client = Client([stub.url for stub in stubs], api_key, patience=patience)
            stack.push_async_callback(client.__aexit__)
            return client

        yield make


async def collect(client: Client, after: str | None = None, notes: list[Note] | None = None) -> list[StreamEvent]:
    """All events of a stream."""
    keep = notes if notes is not None else []
    return [event async for event in client.stream("gen_1", after, on_note=keep.append)]


def ids(events: list[StreamEvent]) -> list[str | None]:
    """Their ids."""
    return [event.id for event in events]


@pytest.mark.parametrize("cut", [RESET, EOF, None], ids=["reset", "eof", "clean end before the terminal event"])
async def test_a_cut_stream_goes_on_behind_the_last_event(cut: bytes | None, clients: MakeClient) -> None:
    """Reset, bare FIN or a clean end before the terminal event: all three are cuts."""
    first = [started(1), text(2, "Hel")] + ([cut] if cut else [])
    async with Stub(stream(*first), stream(text(4, "lo", merged=2), completed(5), node="node-b")) as stub:
        notes: list[Note] = []
        events = await collect(clients(stub), notes=notes)
    assert ids(events) == ["7-1", "7-2", "7-4", "7-5"]
    assert [asked.headers.get("last-event-id") for asked in stub.asked] == [None, "7-2"]
    assert [event.node for event in events] == ["node-a", "node-a", "node-b", "node-b"]
    assert [type(note) for note in notes] == [Opened, Lost, Opened]
    assert notes[-1] == Opened("node-b", "7-2")


async def test_a_frame_that_was_cut_in_half_is_not_an_event(clients: MakeClient) -> None:
    """It comes whole after the reconnect, once."""
    async with Stub(stream(started(1), text(2, "Hello")[:-3], RESET), stream(text(2, "Hello"), completed(3))) as stub:
        events = await collect(clients(stub))
    assert ids(events) == ["7-1", "7-2", "7-3"]


async def test_silence_longer_than_a_stall_is_a_cut(clients: MakeClient) -> None:
    """A connection that died without a word does not hold the reader."""
    async with Stub(stream(started(1), HANG), stream(completed(2))) as stub:
        client = clients(stub, patience=replace(QUICK, stall_s=0.3))
        assert ids(await collect(client)) == ["7-1", "7-2"]


async def test_nothing_is_read_behind_the_terminal_event(clients: MakeClient) -> None:
    """The stream is over although the connection is not."""
    async with Stub(stream(started(1), completed(2), HANG)) as stub:
        assert ids(await collect(clients(stub))) == ["7-1", "7-2"]
    assert len(stub.asked) == 1


async def test_204_ends_the_stream(clients: MakeClient) -> None:
    """The position was the terminal event's."""
    async with Stub(Answer(status=204)) as stub:
        assert await collect(clients(stub), after="7-9") == []
    assert stub.asked[0].headers["last-event-id"] == "7-9"


async def test_every_connection_takes_the_next_base_url(clients: MakeClient) -> None:
    """A cut is resumed on another node."""
    async with Stub(stream(started(1), RESET)) as one, Stub(stream(completed(2), node="node-b")) as two:
        assert ids(await collect(clients(one, two))) == ["7-1", "7-2"]
    assert (len(one.asked), len(two.asked)) == (1, 1)


async def test_passing_answers_are_asked_again_and_retry_is_heeded(clients: MakeClient) -> None:
    """429 and 5xx are waited out; the first wait is at most the server's ``retry:``."""
    retry = frame("7-1", {"type": "generation.started", "attempt": 1, "mode": "restart"}, extra="retry: 20\n")
    answers = (stream(retry, RESET), problem(503, "log_unavailable"), problem(429, "rate_limited"), Answer(status=502))
    async with Stub(*answers, stream(completed(2))) as stub:
        notes: list[Note] = []
        assert ids(await collect(clients(stub), notes=notes)) == ["7-1", "7-2"]
    assert len(stub.asked) == 5
    first_wait = next(note for note in notes if isinstance(note, Lost))
    assert first_wait.delay_s <= 0.02


async def test_retry_after_is_waited_for(clients: MakeClient) -> None:
    """Never sooner than the server asked."""
    busy = problem(503, "log_unavailable", **{"retry-after": "1"})
    async with Stub(busy, stream(started(1), completed(2))) as stub:
        notes: list[Note] = []
        await collect(clients(stub), notes=notes)
    lost = [note for note in notes if isinstance(note, Lost)]
    assert len(lost) == 1
    assert lost[0].delay_s >= 1


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (410, "log_expired"), (401, "unauthorized")])
async def test_a_lasting_refusal_is_raised_with_its_code(status: int, code: str, clients: MakeClient) -> None:
    """Also when it comes in the middle of a stream's life."""
    async with Stub(stream(started(1), RESET), problem(status, code)) as stub:
        with pytest.raises(Refused, match=f"it is {code}") as caught:
            await collect(clients(stub))
    assert (caught.value.code, caught.value.status) == (code, status)


async def test_a_gap_is_mended_by_asking_again(clients: MakeClient) -> None:
    """From the last position that was whole."""
    async with Stub(stream(started(1), text(3, "!")), stream(text(2, "a"), text(3, "!"), completed(4))) as stub:
        assert ids(await collect(clients(stub))) == ["7-1", "7-2", "7-3", "7-4"]
    assert stub.asked[1].headers["last-event-id"] == "7-1"


async def test_a_gap_that_stays_is_an_error(clients: MakeClient) -> None:
    """Nothing is skipped in silence."""
    async with Stub(stream(started(1), RESET), stream(text(3, "!"))) as stub:
        with pytest.raises(StreamBroken, match="gap"):
            await collect(clients(stub))


async def test_a_reset_is_handed_on_and_the_whole_log_follows(clients: MakeClient) -> None:
    """The reader has to know that what it has is void."""
    reset = frame(None, {"type": "stream.reset", "reason": "epoch"})
    async with Stub(stream(reset, started(1, epoch=9), completed(2, epoch=9))) as stub:
        events = await collect(clients(stub), after="7-5")
    assert [event.type for event in events] == ["stream.reset", "generation.started", "generation.completed"]


async def test_it_gives_up_without_progress_in_bounded_time(clients: MakeClient) -> None:
    """Connections that open and break again are no progress."""
    patience = Patience(base_s=0.01, cap_s=0.02, give_up_after_s=0.3)
    async with Stub(stream(started(1), RESET), stream(RESET)) as stub:
        with pytest.raises(GaveUp, match="no progress"):
            await collect(clients(stub, patience=patience))
    # How many there is time for is the machine's: one that opened and broke again is enough.
    assert len(stub.asked) > 1


async def test_no_server_at_all_is_unreachable() -> None:
    """For streams and plain calls."""
    patience = Patience(base_s=0.01, cap_s=0.02, give_up_after_s=0.2, request_give_up_after_s=0.2)
    async with Client(f"http://127.0.0.1:{free_port()}", patience=patience) as client:
        with pytest.raises(Unreachable):
            await collect(client)
        with pytest.raises(Unreachable):
            await client.get("gen_1")


async def test_a_page_of_another_server_is_told_apart(clients: MakeClient) -> None:
    """A proxy's web page is not an empty stream."""
    async with Stub(Answer((b"<html>",), 200, {"content-type": "text/html"})) as stub:
        with pytest.raises(StreamBroken, match="is this a Rejoinder server"):
            await collect(clients(stub))
        with pytest.raises(StreamBroken, match="is this a Rejoinder server"):
            await clients(stub).get("gen_1")


async def test_a_bad_position_or_base_url_is_refused_at_once() -> None:
    """Before anything is sent."""
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(InvalidPosition):
            client.stream("gen_1", "nonsense")
    for url in ("127.0.0.1:8000", "ftp://x", ""):
        with pytest.raises(ValueError, match="base URL"):
            Client(url)


async def test_a_submit_is_retried_under_one_key(clients: MakeClient) -> None:
    """A lost answer never starts a second generation."""
    async with Stub(Answer((RESET,)), as_json(record("queued"))) as stub:
        found = await clients(stub, api_key="k1").submit("demo/demo-1", "hi", temperature=0.5, stop=None)
    assert found.status == "queued"
    keys = {asked.headers["idempotency-key"] for asked in stub.asked}
    assert len(stub.asked) == 2
    assert len(keys) == 1
    assert stub.asked[0].body == b'{"model":"demo/demo-1","input":"hi","temperature":0.5}'
    assert stub.asked[0].headers["authorization"] == "Bearer k1"


async def test_a_refused_submit_names_code_and_field(clients: MakeClient) -> None:
    """Straight from problem+json."""
    body = b'{"title":"Unprocessable","detail":"too hot","code":"invalid_request","field":"temperature"}'
    async with Stub(Answer((body,), 422, {"content-type": "application/problem+json"})) as stub:
        with pytest.raises(Refused) as caught:
            await clients(stub).submit("demo/demo-1", "hi")
    assert (caught.value.code, caught.value.field, caught.value.passing) == ("invalid_request", "temperature", False)


async def test_wait_polls_until_the_end(clients: MakeClient) -> None:
    """By long polls."""
    async with Stub(as_json(record("running")), as_json(record("completed"))) as stub:
        assert (await clients(stub).wait("gen_1")).status == "completed"
    assert "wait=30" in stub.asked[0].line


async def test_wait_has_a_limit(clients: MakeClient) -> None:
    """The caller's own."""
    async with Stub(Answer((HANG,), 200, {"content-type": "application/json"})) as stub:
        with pytest.raises(TimeoutError):
            await clients(stub).wait("gen_1", timeout_s=0.1)


async def test_list_cancel_and_delete(clients: MakeClient) -> None:
    """The remaining routes, ids escaped."""
    page = b'{"object":"list","data":[' + record() + b'],"next_cursor":"c2"}'
    async with Stub(as_json(page), as_json(record("cancelled")), Answer(status=204)) as stub:
        client = clients(stub)
        found = await client.list(status="completed", limit=1)
        assert ([one.id for one in found.records], found.next_cursor) == (["gen_1"], "c2")
        assert (await client.cancel("gen_1")).status == "cancelled"
        await client.delete("gen_/1")
    lines = [asked.line for asked in stub.asked]
    assert lines == [
        "GET /v1/generations?status=completed&limit=1 HTTP/1.1",
        "POST /v1/generations/gen_1/cancel HTTP/1.1",
        "DELETE /v1/generations/gen_%2F1 HTTP/1.1",
    ]
