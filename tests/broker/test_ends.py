"""The last words of a writer: said once, however often they are sent, and never more of them behind the end."""

from __future__ import annotations

from broker.events import TextDelta
from broker.notices import Notice, parse_notice
from broker.position import Position
from tests.broker.store import Store


async def test_an_end_that_is_sent_again_is_the_same_end_or_none(store: Store) -> None:
    """Its reply was lost: the very same, or its last part, is there already. More words or other places come late."""
    writer = await store.own(await store.submit())
    await writer.begin()
    first = writer.next_seq
    assert (await writer.end("a", "b", first=first)).kind == "ok"
    rows = await store.rows(writer.generation)
    again = [
        await writer.end("a", "b", first=first),
        await writer.end("b", first=first + 1),
        await writer.end(first=first + 2),
    ]
    assert [reply.kind for reply in again] == ["ok"] * 3
    late = [await writer.end("a", "b", "c", first=first), await writer.end("x", first=first + 2)]
    late.append(await writer.append(TextDelta(0, "x"), first=first + 3))
    assert [reply.kind for reply in late] == ["ended"] * 3
    assert await store.rows(writer.generation) == rows


async def test_an_end_with_the_first_words_of_its_writer_tells_a_chain(store: Store) -> None:
    """Each notice names the entry before it, so that a reader who has that one may take it without a page."""
    generation = await store.submit()
    (created, _), *_ = await store.rows(generation)
    pubsub = store.raw.pubsub()
    await pubsub.subscribe(store.keys.channel(generation))
    writer = await store.own(generation)
    await writer.end("a", "b")
    notices: list[Notice] = []
    while len(notices) < 2:
        message = await pubsub.get_message(timeout=5)
        assert message is not None
        notices += [parse_notice(message["data"])] if message["type"] == "message" else []
    await pubsub.aclose()
    epoch = writer.fence.epoch
    assert [str(notice.previous) for notice in notices] == [created, f"{epoch}-3"]
    assert [notice.top for notice in notices] == [Position(epoch, 3), Position(epoch, 4)]
