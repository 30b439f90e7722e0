"""The crowd: viewers that are handed live entries directly, whatever the notices are, and whoever falls behind."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from broker.channel import Channel, Subscription
from broker.events import TERMINAL_TYPES, Entry
from broker.follow import Follower, Page
from broker.notices import Notice
from broker.position import START, Position
from broker.tail_items import Batch
from tests.unit.strategies import logs


async def nobody_left(_channel: Channel) -> None:
    """The last viewer's going is of no interest here."""


class Reader:
    """A viewer that takes what it is handed, or does not, as the test says."""

    def __init__(self, channel: Channel) -> None:
        self.hints: Subscription = channel.enter()
        self.follower = Follower()
        self.got: list[Entry] = []
        self.batches: list[Batch] = []
        self.takes = True

    def take(self, batch: Batch) -> bool:
        """Write."""
        if self.takes:
            self.got += batch.entries
            self.batches.append(batch)
        return self.takes

    @property
    def joined(self) -> bool:
        """In the crowd."""
        return self.hints.left is not None and not self.hints.left.done()

    async def catch_up(self, log: list[Entry]) -> None:
        """What a tail does: take the hints, or read a page; and at the tail join the crowd."""
        if self.joined or self.follower.ended:
            return
        while self.hints.pending:
            for notice in await self.hints.wait():
                known = notice.previous is not None
                taken = self.follower.on_notice(notice.entries, notice.previous) if known and notice.previous else None
                if taken is None:
                    break
                self.got += taken
        start = self.follower.position
        rows = [entry for entry in log if entry.position >= start]
        step = self.follower.on_page(Page(rows, full=False, ended=isinstance(log[-1].event, TERMINAL_TYPES)))
        self.got += step.entries
        if not self.follower.ended:
            self.hints.join(self.follower, self)


def told(run: list[Entry], previous: Position) -> Notice:
    """The notice of these entries."""
    return Notice(run, run[-1].position, previous, 10)


@effort(max_examples=200, deadline=None)
@given(logs(ended=True), st.data())
def test_everybody_gets_every_entry_once_and_in_order(log: list[Entry], data: st.DataObject) -> None:
    """Notices joined, lost, doubled or without entries; viewers that refuse, come late, and catch up at any moment."""

    async def play() -> None:
        channel = Channel("g", nobody_left)
        readers = [Reader(channel) for _ in range(data.draw(st.integers(1, 3)))]
        at = 0
        while at < len(log):
            count = data.draw(st.integers(1, 3))
            epoch = log[at].position.epoch
            run = [entry for entry in log[at : at + count] if entry.position.epoch == epoch]
            previous = log[at - 1].position if at else START
            at += len(run)
            fate = data.draw(st.sampled_from(["told", "told", "told", "lost", "doubled", "bare", "one by one"]))
            one_by_one = [
                told([entry], before) for entry, before in zip(run, [previous, *positions(run)], strict=False)
            ]
            notices = {
                "told": [told(run, previous)],
                "doubled": [told(run, previous)] * 2,
                "bare": [Notice([], run[-1].position, previous, 10)],
                "one by one": one_by_one,
                "lost": [],
            }[fate]
            for reader in readers:
                reader.takes = data.draw(st.integers(0, 5)) > 0
            if notices:
                channel.tell(notices)
            for reader in readers:
                if data.draw(st.booleans()):
                    await reader.catch_up(log[:at])
            assert all(reader.got == log[: len(reader.got)] for reader in readers)
            assert all(reader.got == log[:at] for reader in readers if reader.joined and fate != "lost")
        channel.wake()
        for reader in readers:
            await reader.catch_up(log)
            assert reader.got == log
            assert reader.follower.ended
            assert reader.follower.position == log[-1].position
        assert len(channel) == len(readers)

    asyncio.run(play())


def positions(entries: list[Entry]) -> list[Position]:
    """Where they stand."""
    return [entry.position for entry in entries]


@given(logs(ended=True))
def test_the_crowd_shares_one_batch(log: list[Entry]) -> None:
    """So that the first to encode it does so for all; and who leaves is at the position it holds."""

    async def play() -> None:
        channel = Channel("g", nobody_left)
        readers = [Reader(channel) for _ in range(3)]
        for reader in readers:
            await reader.catch_up(log[:1])
        assert all(reader.joined for reader in readers)
        readers[2].takes = False
        rest = log[1:]
        channel.tell([told([entry], before) for entry, before in zip(rest, positions(log), strict=False)])
        first, second, third = readers
        assert len(first.batches) == 1
        assert first.batches[0] is second.batches[0]
        assert first.batches[0].ended
        assert third.batches == []
        assert third.follower.position == log[0].position
        assert not third.follower.ended
        assert not any(reader.joined for reader in readers)

    asyncio.run(play())


async def test_who_stands_elsewhere_is_not_admitted() -> None:
    """A crowd has one position; and who has hints left must take them first."""
    channel = Channel("g", nobody_left)
    first, second = Reader(channel), Reader(channel)
    first.follower.position = Position(1, 5)
    assert first.hints.join(first.follower, first) is not None
    assert second.hints.join(Follower(Position(1, 4)), second) is None
    second.hints.need_page()
    assert second.hints.join(Follower(Position(1, 5)), second) is None
    await second.hints.wait()
    assert second.hints.join(Follower(Position(1, 5)), second) is not None


async def test_damage_is_for_the_log_itself_to_say() -> None:
    """Entries that contradict one another reach nobody: everybody reads a page, from where it was."""
    channel = Channel("g", nobody_left)
    reader = Reader(channel)
    log = [Entry(Position(1, seq), event) for seq, event in enumerate([object(), object(), object()], 1)]  # pyright: ignore[reportArgumentType]
    reader.follower.position = log[0].position
    reader.hints.join(reader.follower, reader)
    channel.tell([Notice([log[1], log[1]], log[2].position, log[0].position, 10)])
    assert not reader.joined
    assert reader.got == []
    assert reader.follower.position == log[0].position


async def test_a_viewer_that_leaves_is_handed_nothing_more() -> None:
    """And the last one turns the light off."""
    gone: list[str] = []

    async def left(channel: Channel) -> None:
        gone.append(channel.generation)

    channel = Channel("g", left)
    readers = [Reader(channel) for _ in range(2)]
    for reader in readers:
        async with reader.hints:
            reader.hints.join(reader.follower, reader)
    assert gone == ["g"]
    channel.tell([Notice([], Position(1, 1), START, 10)])
    assert not any(reader.batches or reader.hints.pending for reader in readers)
