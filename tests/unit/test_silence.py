"""Silence is what lasts longer than the limit while somebody should speak, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from worker.silence import Silence

LIMIT_S = 0.05


async def passed(seconds: float) -> None:
    """Return when so much time has passed on the loop's clock."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, done.set)
    await done.wait()


async def test_silence_ends_the_block() -> None:
    """Not before the limit, and not long after it."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    silence = Silence(LIMIT_S)
    with pytest.raises(TimeoutError):
        async with silence:
            silence.wait()
            await asyncio.Event().wait()
    assert silence.expired
    assert LIMIT_S <= clock() - begun < 20 * LIMIT_S


async def test_work_is_no_silence() -> None:
    """Between what was heard and the next wait there is all the time in the world; then the limit counts anew."""
    clock = asyncio.get_running_loop().time
    silence = Silence(LIMIT_S)
    waited_from = 0.0
    with pytest.raises(TimeoutError):
        async with silence:
            silence.wait()
            silence.heard()
            await passed(2.5 * LIMIT_S)
            waited_from = clock()
            silence.wait()
            await asyncio.Event().wait()
    assert waited_from
    assert clock() - waited_from >= LIMIT_S


async def test_who_goes_on_speaking_may_take_long() -> None:
    """The limit is a wait's, not the block's."""
    silence = Silence(10 * LIMIT_S)
    async with silence:
        for _ in range(30):
            silence.wait()
            await passed(LIMIT_S / 2)
            silence.heard()
    assert not silence.expired


async def test_a_cancel_is_a_cancel() -> None:
    """Also in the middle of a wait."""

    async def listen() -> None:
        async with Silence(60) as silence:
            silence.wait()
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(listen())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_timeout_is_not_silence() -> None:
    """What fails inside fails as it would outside."""
    silence = Silence(60)
    with pytest.raises(TimeoutError):
        async with silence:
            silence.wait()
            raise TimeoutError
    assert not silence.expired


async def test_the_end_of_the_block_is_the_end_of_its_timer() -> None:
    """Nobody is cancelled for what they waited for before."""
    async with Silence(LIMIT_S) as silence:
        silence.wait()
    await passed(2 * LIMIT_S)
    assert not silence.expired
