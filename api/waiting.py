"""Long polls: wait for the end of a generation, but not for longer than somebody is there to hear of it."""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED

from starlette.requests import Request

from api.node import Node
from broker.record import Record

MAX_WAIT_S = 60.0
"""The longest a request waits, whatever it asks for: proxies cut quieter connections sooner or later."""

CANCEL_WAIT_S = 1.0
"""How long a cancel waits to see its own effect."""


async def wait_for_end(
    node: Node, request: Request, generation: str, tenant: str, seconds: float, *, output: bool = True
) -> Record:
    """The record when the generation has ended, the time is up, the node drains, or the client has gone.

    ``output``: with what was said, which takes a look at the whole log.

    Raises what ``Broker.wait`` raises.
    """
    timeout_s = min(seconds, MAX_WAIT_S)
    try:
        async with asyncio.TaskGroup() as group:
            poll = group.create_task(node.broker.wait(generation, timeout_s, tenant=tenant, output=output))
            others = [group.create_task(_disconnected(request)), group.create_task(node.drain.begun.wait())]
            await asyncio.wait([poll, *others], return_when=FIRST_COMPLETED)
            for task in (poll, *others):
                task.cancel()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    if poll.cancelled():
        return await node.broker.get(generation, tenant=tenant, output=output)
    return poll.result()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
