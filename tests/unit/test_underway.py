"""The id of an answer that goes on upstream is kept before anything of the answer is taken: docs/adr/0016."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

from broker.events import ContentEvent, TextDelta
from broker.settings import Settings
from tests.providers.contract import make_call
from worker.drive import Drive
from worker.providers.base import Call, Finish, ProviderItem, Underway
from worker.providers.demo import DemoProvider


class Named(DemoProvider):
    """Says its id and then a word; ``asked`` = how often it was asked for more."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def stream(self, call: Call) -> AsyncGenerator[ProviderItem, None]:
        """The id comes first, and in the end there is none."""
        del call
        for item in (Underway("resp_1"), TextDelta(0, "word"), Underway(""), Finish("stop")):
            self.asked += 1
            yield item


async def test_nothing_is_taken_before_the_id_is_kept() -> None:
    """While Redis does not say yes, the provider is not even asked for its first token."""
    loop = asyncio.get_running_loop()
    written: list[ContentEvent] = []
    kept, reached, allowed = list[tuple[str, int, bool]](), asyncio.Event(), asyncio.Event()

    async def room() -> None:
        """There always is."""

    async def keep(upstream: str, attempt: int, *, begun: bool) -> None:
        """Slowly."""
        kept.append((upstream, attempt, begun))
        reached.set()
        await allowed.wait()

    writer = SimpleNamespace(
        stopped=loop.create_future(), full=loop.create_future(), cancel_asked=loop.create_future(),
        bytes=0, attempt=3, room=room, write=written.append,
    )  # fmt: skip
    broker: Any = SimpleNamespace(settings=Settings())
    call, provider = make_call(), Named()
    drive = Drive(broker, "gen_x", cast("Any", writer), call.request, deadline_s=60, keep=keep)
    running = loop.create_task(drive.run(provider, call))
    await reached.wait()
    assert (provider.asked, written, drive.upstream) == (1, [], "resp_1")
    allowed.set()
    assert (await running).finish == Finish("stop")
    assert (kept, written, drive.upstream) == ([("resp_1", 3, True)], [TextDelta(0, "word")], "")
