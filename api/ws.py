"""``/v1/ws``: many generations over one connection. Contract section 4; PROTOCOL.md, section 15.

The task that serves the socket reads what the client says. Each subscription has a task of its own, which sleeps while
its generation is at the tail.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import APIRouter, Response
from starlette.datastructures import Headers as RequestHeaders
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from api.auth import Tenant
from api.body import parse_generation_request
from api.errors import NoSuchRoute, UpgradeRequired
from api.node import Node
from api.params import IDEMPOTENCY_KEY, generation_id
from api.wire import Headers, Stalled
from api.ws_frames import (
    PONG,
    SUBPROTOCOL,
    AlreadySubscribed,
    BadMessage,
    Cancel,
    ClientMessage,
    Close,
    LogEnded,
    Ping,
    Submit,
    Subscribe,
    TooManySubscriptions,
    Unsubscribe,
    accepted,
    offered_key,
    parse_message,
    refused,
)
from api.ws_subscription import Subscription, Turn, Turns
from api.ws_wire import Gone, Out, open_out
from broker.dialects.check import check_routed
from broker.errors import InvalidPosition, InvalidRequest, LogUnavailable, RejoinderError, RequestError, Unauthorized
from broker.position import START, Position, parse_position
from broker.tasks import end

log = logging.getLogger(__name__)

_REASONS = {"drain": Close.DRAINING, "stalled": Close.STALLED, LogUnavailable.code: Close.LOG_UNAVAILABLE}
_GONE = "disconnect"

PATH = "/v1/ws"

router = APIRouter(tags=["generations"], include_in_schema=False)


@router.get(PATH)
async def handshake(tenant: Tenant) -> Response:
    """What came without ``Upgrade``: a proxy on the way may have left it out."""
    del tenant
    raise UpgradeRequired


class Socket:
    """One connection of one tenant."""

    def __init__(self, node: Node, tenant: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._node = node
        self._tenant = tenant
        self._connection = HTTPConnection(scope)
        self._receive = receive
        self._send = send
        terms = node.terms
        self._out: Out = open_out(scope, send, terms.send_timeout_s, direct=terms.direct)
        self._turns = Turns(self._out)
        self._subscriptions: dict[str, Subscription] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[Any] | None = None
        self._why: str | None = None

    async def serve(self, headers: Headers) -> None:
        """Accept, and serve until either side closes."""
        node = self._node
        self._task = asyncio.current_task()
        node.metrics.sockets += 1
        stop = self.stop
        node.drain.hold(stop)
        try:
            code, reason = await self._listen(headers)
        finally:
            self._task = None
            node.drain.release(stop)
            for subscription in self._subscriptions.values():
                subscription.stop()
            await end(*self._tasks)
            node.metrics.sockets -= 1
        if reason != _GONE:
            node.metrics.broken[reason if code < Close.BAD_MESSAGE else code.name.lower()] += 1
            await self._out.close(code, reason)

    def stop(self, reason: str) -> None:
        """Close from outside; does nothing once the socket closes by itself."""
        if self._task is not None and self._why is None:
            self._why = reason
            self._task.cancel()

    async def _listen(self, headers: Headers) -> tuple[Close, str]:
        """Until the socket has to be closed; returns with what."""
        said: Message = {}
        try:
            await self._receive()
            await self._send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": headers})
            # A cancel may get lost inside a library, so what it says is asked for, too.
            while self._why is None and (said := await self._receive())["type"] == "websocket.receive":
                await self._handle(parse_message(said.get("text")))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._why is None or task is None or task.uncancel() > 0:
                raise
        except BadMessage as error:
            return Close.BAD_MESSAGE, str(error)
        except Stalled:
            return Close.STALLED, "stalled"
        except (Gone, OSError):
            return Close.INTERNAL, _GONE
        except Exception:
            log.exception("a socket broke on an error nobody expected")
            return Close.INTERNAL, "internal"
        if self._why is not None:
            return _REASONS.get(self._why, Close.INTERNAL), self._why
        return _closed(said.get("code"))

    async def _handle(self, message: ClientMessage) -> None:
        match message:
            case Ping():
                await self._out.answer(PONG)
            case Unsubscribe(id=generation):
                subscription = self._subscriptions.pop(generation, None)
                if subscription is not None:
                    subscription.stop()
            case Submit():
                await self._submit(message)
            case Subscribe():
                await self._subscribe(message)
            case Cancel():
                await self._cancel(message)

    async def _submit(self, message: Submit) -> None:
        node = self._node
        try:
            self._check_room()
            await node.submit_limit.charge(self._tenant, self._connection)
            wanted = parse_generation_request(bytes(message.request))
            check_routed(wanted, node.models)
            key = _key(message.idempotency_key)
            submitted = await node.broker.submit(wanted, tenant=self._tenant, idempotency_key=key)
        except RejoinderError as error:
            await self._out.answer(refused("submit", error, ref=message.ref))
            return
        if not submitted.replayed:
            node.metrics.submits += 1
        generation = submitted.record.id
        await self._out.answer(accepted(message.ref, generation, replayed=submitted.replayed))
        if generation not in self._subscriptions:
            self._open(generation, START)

    async def _subscribe(self, message: Subscribe) -> None:
        try:
            after = _position(message.after)
            generation = generation_id(message.id)
            if generation in self._subscriptions:
                raise AlreadySubscribed
            self._check_room()
        except RejoinderError as error:
            await self._out.answer(refused("subscribe", error, generation=message.id))
            return
        self._open(generation, after)

    async def _cancel(self, message: Cancel) -> None:
        try:
            await self._node.broker.cancel(generation_id(message.id), tenant=self._tenant)
        except RejoinderError as error:
            await self._out.answer(refused("cancel", error, generation=message.id))

    def _check_room(self) -> None:
        limit = self._node.settings.ws_max_subscriptions
        # Those that were let go of may still be leaving: not without end, either.
        if len(self._subscriptions) >= limit or len(self._tasks) >= 2 * limit:
            raise TooManySubscriptions

    def _open(self, generation: str, after: Position) -> None:
        subscription = Subscription(generation, self._out, self._node.metrics)
        self._subscriptions[generation] = subscription
        task = asyncio.get_running_loop().create_task(self._follow(subscription, after))
        subscription.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, subscription: Subscription, after: Position) -> None:
        generation, terms = subscription.generation, self._node.terms
        try:
            turn = Turn(self._turns)
            if not await subscription.run(self._node.broker, self._tenant, after, turn, direct=terms.direct):
                await self._out.answer(refused("subscribe", LogEnded(), generation=generation))
        except LogUnavailable:
            raise
        except RejoinderError as error:
            await self._out.answer(refused("subscribe", error, generation=generation))

    async def _follow(self, subscription: Subscription, after: Position) -> None:
        """A subscription to its end, and what its end means for the socket."""
        generation = subscription.generation
        try:
            await self._read(subscription, after)
        except LogUnavailable:
            self.stop(LogUnavailable.code)
        except Stalled:
            self.stop("stalled")
        except Gone:
            return
        except Exception:
            log.exception("a subscription broke on an error nobody expected")
            self.stop("internal")
        finally:
            if self._subscriptions.get(generation) is subscription:
                del self._subscriptions[generation]


def _closed(code: int | None) -> tuple[Close, str]:
    """How the connection closed it, where it found a reason of ours; else the other side has gone."""
    return (Close(code), Close(code).name.lower()) if code in set(Close) else (Close.INTERNAL, _GONE)


def _position(text: str | None) -> Position:
    try:
        return parse_position(text)
    except InvalidPosition as error:
        raise InvalidPosition(error.message, field="after") from None


def _key(key: str | None) -> str | None:
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest("an idempotency key is 1 to 255 visible ASCII characters", field="idempotency_key")
    return key


async def serve(node: Node, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
    """Serve a WebSocket handshake, and what comes of it; ``headers`` go into the answer.

    Browsers see nothing of a refused handshake, and come back for ever: what they should know is said by a close code.

    Raises:
        NoSuchRoute: there is no socket at this path.
        RequestError: the subprotocol is not offered.
    """
    if scope["path"] != PATH:
        raise NoSuchRoute
    offered: list[str] = scope.get("subprotocols") or []
    if SUBPROTOCOL not in offered:
        raise RequestError(f"offer the subprotocol {SUBPROTOCOL} (Sec-WebSocket-Protocol)")
    try:
        tenant = node.keyring.tenant(RequestHeaders(scope=scope), offered_key(offered))
    except Unauthorized as error:
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": headers})
        await send({"type": "websocket.close", "code": Close.UNAUTHORIZED, "reason": error.message})
        return
    await Socket(node, tenant, scope, receive, send).serve(headers)
