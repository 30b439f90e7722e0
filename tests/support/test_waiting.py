"""The waits themselves: they end, and a machine that stands still is no reason to give up."""

from __future__ import annotations

import time

import pytest

from tests.support.waiting import STALL_S, poll_until, wait_until


async def test_what_never_holds_fails() -> None:
    """In time, and by name."""
    with pytest.raises(AssertionError, match=r"did not come to hold within 0\.02 s"):
        await wait_until(lambda: False, 0.02)
    with pytest.raises(AssertionError, match="never"):
        poll_until(never, 0.02)


def never() -> bool:
    """Does not hold."""
    return False


async def test_a_stall_counts_as_one_look() -> None:
    """Nobody could do anything meanwhile."""
    looks = 0

    def holds_after_a_stall() -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            time.sleep(STALL_S * 1.5)
        return looks > 1

    await wait_until(holds_after_a_stall, STALL_S * 1.2)
    looks = 0
    poll_until(holds_after_a_stall, STALL_S * 1.2)
