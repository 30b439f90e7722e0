"""Anthropic's ``/v1/messages`` through Anthropic's own SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from broker.dialects.from_messages import BETA_HEADER, betas_of
from broker.dialects.prefix import prefix_text
from broker.dialects.to_messages import can_prefill
from broker.errors import ProviderError
from worker.providers.answer import MAX_CALLS, events_of
from worker.providers.anthropic_map import MessageState, events_at_end, events_from_message
from worker.providers.asked import messages_body
from worker.providers.base import Call, ProviderItem
from worker.providers.blocks import Blocks, malformed
from worker.providers.failures import READ_MARGIN_S, Upstream
from worker.providers.sse import load

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

ANTHROPIC_URL = "https://api.anthropic.com"


class AnthropicProvider:
    """One upstream that speaks Anthropic's API.

    An empty ``api_key`` = none is configured, which every call is then told. ``base_url`` comes without ``/v1``.
    ``connect_s``, ``stall_s``: seconds. ``max_calls``: at once; more wait for ``connect_s`` and then fail.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: str,
        base_url: str,
        connect_s: float,
        stall_s: float,
        max_calls: int = MAX_CALLS,
        models: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._upstream = Upstream(name, api_key)
        self._api_key = api_key
        self._base_url = base_url
        self._connect_s = connect_s
        self._read_s = stall_s + READ_MARGIN_S
        self._max_calls = max_calls
        self._models = list(models)
        self._client: AsyncAnthropic | None = None
        self._connecting = asyncio.Lock()

    async def stream(self, call: Call) -> AsyncGenerator[ProviderItem, None]:
        """Ask and yield the answer. Raises :class:`ProviderError` only; one request, no retries."""
        body = messages_body(call)
        betas = betas_of(call.request)
        client = await self._connected()
        import httpx2  # noqa: PLC0415 - imported on first use
        from anthropic import AnthropicError, AsyncStream  # noqa: PLC0415 - imported on first use

        prefix = prefix_text(call.prefix)
        state = MessageState(self._upstream, Blocks(call.prefix), overlap=prefix[len(prefix.rstrip()) :])
        answered = False
        try:
            # Not messages.create(): it has no temperature any more, which the models it can still ask may be given.
            # The SDK's stream is not iterated: it passes over a frame without an event's name, a hole nobody sees, and
            # takes longer over an event than all of this adapter.
            async with (
                await client.post(
                    "/v1/messages",
                    body=body,
                    options={"headers": {BETA_HEADER: betas}} if betas else {},
                    cast_to=object,
                    stream=True,
                    stream_cls=AsyncStream[object],
                ) as answer,
                aclosing(events_of(answer.response)) as events,
            ):
                answered = True
                async for datas in events:
                    for data in datas:
                        for item in events_from_message(load(data), state):
                            yield item
        except (AnthropicError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            # The SDK's error text may hold the key, so it must not become a part of what is logged.
            raise self._failure(error, answered=answered, prefilled=bool(prefix)) from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise malformed(f"{self.name}: an event is not JSON") from None
        for item in events_at_end(state):
            yield item

    def can_continue(self, model: str) -> bool:
        """For the models listed in :data:`broker.dialects.to_messages.PREFILL_MODELS`."""
        return can_prefill(model)

    def models(self) -> list[str]:
        """The configured names."""
        return list(self._models)

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connected(self) -> AsyncAnthropic:
        if not self._api_key:
            raise self._upstream.no_key()
        async with self._connecting:
            if self._client is None:
                # Importing the SDK takes more than a second, in which other generations of this worker must go on.
                self._client = await asyncio.to_thread(self._make_client)
            return self._client

    def _make_client(self) -> AsyncAnthropic:
        import httpx2  # noqa: PLC0415 - imported on first use
        from anthropic import AsyncAnthropic, DefaultAioHttpClient  # noqa: PLC0415 - imported on first use

        try:
            return AsyncAnthropic(
                api_key=self._api_key,
                base_url=self._base_url,
                max_retries=0,
                timeout=httpx2.Timeout(self._read_s, connect=self._connect_s, pool=self._connect_s),
                # The SDK's own choice for many calls at once: half the cost of a token, and a pool that costs no call
                # more where there are a thousand.
                http_client=DefaultAioHttpClient(limits=httpx2.Limits(max_connections=self._max_calls)),
            )
        except httpx2.InvalidURL as error:
            raise self._upstream.broken(error, answered=False) from None

    def _failure(self, error: Exception, *, answered: bool, prefilled: bool) -> ProviderError:
        from anthropic import APIStatusError  # noqa: PLC0415 - imported on first use

        if isinstance(error, APIStatusError):
            return self._upstream.refused(error.status_code, error.body, error.response.headers, prefilled=prefilled)
        return self._upstream.broken(error, answered=answered)
