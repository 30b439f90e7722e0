"""OpenAI's ``/responses`` and whatever speaks it, through OpenAI's own SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from json import JSONDecodeError
from typing import Any
from urllib.parse import quote

import msgspec

from broker.events import CONTENT_TYPES
from worker.providers.answer import MAX_CALLS, events_of
from worker.providers.asked import responses_body
from worker.providers.base import Call, Finish, ProviderItem, Underway
from worker.providers.blocks import Blocks, malformed
from worker.providers.openai_client import OpenAIClient
from worker.providers.openai_responses_map import ResponseState, events_at_end, events_from_response
from worker.providers.replay import Replay, forgotten
from worker.providers.shapes import as_dict, as_str
from worker.providers.sse import load

_ENDED = frozenset({"completed", "incomplete", "failed", "cancelled"})
_UNKNOWN = frozenset({404, 410})
_REFUSED = 400


class OpenAIResponsesProvider:
    """One upstream that speaks OpenAI's Responses API.

    ``background``: its answers are made whether or not we listen, unless a request says otherwise; see
    docs/adr/0016. The rest as for :class:`OpenAIClient`.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None,
        base_url: str,
        connect_s: float,
        stall_s: float,
        max_calls: int = MAX_CALLS,
        models: Sequence[str] = (),
        background: bool = False,
    ) -> None:
        self.name = name
        self._client = OpenAIClient(
            name,
            official=name == "openai-responses",
            api_key=api_key,
            base_url=base_url,
            connect_s=connect_s,
            stall_s=stall_s,
            max_calls=max_calls,
        )
        self._models = list(models)
        self._background = background

    async def stream(self, call: Call) -> AsyncGenerator[ProviderItem, None]:
        """Ask, or listen again to an answer that is under way, and yield what is new in it.

        Raises :class:`ProviderError` only; one request, no retries.
        """
        body = None if call.upstream else self._body(call)
        goes_on = body is None or body.get("background") is True
        state = ResponseState(self._client.upstream, Blocks([]))
        replay = Replay(call.prefix)
        nameless = goes_on and not call.upstream
        async with aclosing(self._lots(call, body, state)) as lots:
            async for datas in lots:
                for data in datas:
                    items = _events(data, state)
                    if nameless and state.id:
                        nameless = False
                        yield Underway(state.id)
                    for item in items:
                        if (new := _new(item, replay)) is not None:
                            yield new
        if goes_on and state.ended:
            yield Underway("")
        for item in events_at_end(state):
            if (new := _new(item, replay)) is not None:
                yield new

    async def abandon(self, upstream: str) -> None:
        """Cancel a background answer. Raises :class:`ProviderError`, not where it has ended or is unknown."""
        import httpx2  # noqa: PLC0415 - imported on first use
        from openai import OpenAIError  # noqa: PLC0415 - imported on first use

        client = await self._client.connected()
        try:
            await client.post(f"{_path(upstream)}/cancel", options={"headers": self._client.left_out()}, cast_to=object)
        except (OpenAIError, httpx2.HTTPError) as error:
            failure = self._client.failure(error, answered=False)
            if failure.status not in {_REFUSED, *_UNKNOWN}:
                raise failure from None

    def can_continue(self, model: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """Never: this API always begins a new message."""
        return False

    def models(self) -> list[str]:
        """The configured names."""
        return list(self._models)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _body(self, call: Call) -> dict[str, Any]:
        return responses_body(call, provider=self.name, background=self._background)

    async def _lots(
        self, call: Call, body: dict[str, Any] | None, state: ResponseState
    ) -> AsyncGenerator[list[bytes], None]:
        """The data of the answer's events, as they come."""
        client = await self._client.connected()
        import httpx2  # noqa: PLC0415 - imported on first use
        from openai import AsyncStream, OpenAIError  # noqa: PLC0415 - imported on first use

        how: Any = {"cast_to": object, "stream": True, "stream_cls": AsyncStream[object]}
        options: Any = {"headers": self._client.left_out()}
        answered = False
        try:
            # Past the SDK's own reading of streams, as in openai_chat.py.
            async with (
                await client.post("/responses", body=body, options=options, **how)
                if body is not None
                else await client.get(_path(call.upstream), options=options | {"params": {"stream": "true"}}, **how)
            ) as answer:
                answered = True
                over = _over(state)
                async with aclosing(events_of(answer.response, ended=over)) as lots:
                    async for lot in lots:
                        yield lot
        except (OpenAIError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            # The SDK's error text may hold the key, so it must not become a part of what is logged.
            failure = self._client.failure(error, answered=answered)
            if body is None and failure.status in _UNKNOWN:
                failure = forgotten(failure.message)
            if body is not None or failure.status != _REFUSED:
                raise failure from None
        else:
            return
        yield await self._retrieved(call.upstream)

    async def _retrieved(self, upstream: str) -> list[bytes]:
        """An answer that can be streamed no longer, as one event: OpenAI keeps streams for a shorter time."""
        import httpx2  # noqa: PLC0415 - imported on first use
        from openai import OpenAIError  # noqa: PLC0415 - imported on first use

        client = await self._client.connected()
        try:
            options: Any = {"headers": self._client.left_out()}
            answer = as_dict(await client.get(_path(upstream), options=options, cast_to=object))
        except (OpenAIError, httpx2.HTTPError) as error:
            failure = self._client.failure(error, answered=False)
            raise (forgotten(failure.message) if failure.status in _UNKNOWN else failure) from None
        status = as_str(answer.get("status"))
        if status not in _ENDED:
            raise self._client.upstream.error("an answer under way can't be streamed", code="provider_forgot")
        return [msgspec.json.encode({"type": f"response.{status}", "response": answer})]


def _path(upstream: str) -> str:
    return f"/responses/{quote(upstream, safe='')}"


def _over(state: ResponseState) -> Any:
    return lambda: state.ended or state.failure is not None


def _events(data: bytes, state: ResponseState) -> list[ProviderItem]:
    if data == b"[DONE]":
        return []
    try:
        return events_from_response(load(data), state)
    except (JSONDecodeError, UnicodeDecodeError):
        raise malformed(f"{state.upstream.name}: an event is not JSON") from None


def _new(item: ProviderItem, replay: Replay) -> ProviderItem | None:
    if isinstance(item, CONTENT_TYPES):
        return replay.rest(item)
    if isinstance(item, Finish):
        replay.end()
    return item
