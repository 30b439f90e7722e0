"""One timer for all heartbeats."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from api.pulse import Pulse
from tests.support.waiting import wait_until

HEARTBEAT_S = 10.0


class FakeLoop:
    """A loop whose clock and timers the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Any]] = []

    def time(self) -> float:
        """Seconds."""
        return self.now

    def call_later(self, delay_s: float, call: Any) -> object:
        """Remember it."""
        self.timers.append((self.now + delay_s, call))
        return object()

    def run_until(self, until: float) -> None:
        """Let time pass."""
        while self.timers and self.timers[0][0] <= until:
            self.now, call = self.timers.pop(0)
            call()
        self.now = until


class Stream:
    """A stream that notes when it beats."""

    def __init__(self, loop: FakeLoop) -> None:
        self._loop = loop
        self.touched = False
        self.quiet_since = 0.0
        self.beats: list[float] = []

    def beat(self) -> None:
        """Now."""
        self.beats.append(self._loop.now)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    """The loop that the pulse sees."""
    fake = FakeLoop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: fake)
    return fake


def test_silence_is_broken_on_time_and_words_put_it_off(loop: FakeLoop) -> None:
    """Never before a heartbeat's time of silence less one look, never later than one look after it."""
    pulse = Pulse(HEARTBEAT_S)
    silent, talking = Stream(loop), Stream(loop)
    pulse.hold(silent)
    pulse.hold(talking)
    for _ in range(40):
        talking.touched = True
        loop.run_until(loop.now + 1.0)
    assert talking.beats == []
    gaps = [after - before for before, after in zip([100.0, *silent.beats], silent.beats, strict=False)]
    assert len(gaps) == 4
    assert all(HEARTBEAT_S - 0.01 <= gap <= HEARTBEAT_S + 1.01 for gap in gaps)
    last_word = loop.now
    loop.run_until(last_word + HEARTBEAT_S + 1.01)
    assert len(talking.beats) == 1
    assert talking.beats[0] >= last_word + HEARTBEAT_S - 1.01


def test_any_number_of_streams_have_one_timer_and_no_streams_have_none(loop: FakeLoop) -> None:
    """It stops with the last stream and starts again with the next."""
    pulse = Pulse(HEARTBEAT_S)
    streams = [Stream(loop) for _ in range(1000)]
    for stream in streams:
        pulse.hold(stream)
    loop.run_until(loop.now + 25)
    assert len(loop.timers) == 1
    for stream in streams:
        pulse.release(stream)
    loop.run_until(loop.now + 25)
    assert loop.timers == []
    assert all(len(stream.beats) == 2 for stream in streams)
    again = Stream(loop)
    pulse.hold(again)
    loop.run_until(loop.now + HEARTBEAT_S + 1.01)
    assert len(again.beats) == 1


async def test_on_a_real_loop() -> None:
    """The same in time that passes by itself."""
    gone, other = (Stream(cast("FakeLoop", asyncio.get_running_loop())) for _ in range(2))
    for stream in (gone, other):
        stream._loop = cast("Any", type("Now", (), {"now": 0.0}))()  # pyright: ignore[reportPrivateUsage]
    pulse = Pulse(0.01)
    pulse.hold(gone)
    await wait_until(lambda: len(gone.beats) > 2)
    pulse.release(gone)
    beats = len(gone.beats)
    pulse.hold(other)
    await wait_until(lambda: len(other.beats) > 2)
    pulse.release(other)
    assert len(gone.beats) == beats
