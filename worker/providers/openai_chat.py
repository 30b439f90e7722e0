"""OpenAI's ``/chat/completions`` and whatever speaks it, through OpenAI's own SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from json import JSONDecodeError
from typing import TYPE_CHECKING
from uuid import uuid4

from broker.errors import ProviderError
from worker.providers.answer import MAX_CALLS, events_of
from worker.providers.base import Call, ProviderItem
from worker.providers.blocks import Blocks, malformed
from worker.providers.failures import READ_MARGIN_S, Upstream
from worker.providers.openai_chat_map import ChatState, events_at_end, events_from_chunk
from worker.providers.openai_chat_request import request_to_openai
from worker.providers.sse import load

if TYPE_CHECKING:
    from openai import AsyncOpenAI, Omit

OPENAI_URL = "https://api.openai.com/v1"


class OpenAIChatProvider:
    """One OpenAI-compatible upstream.

    ``name`` ``openai`` means OpenAI itself, see :func:`request_to_openai`. ``api_key`` None = the server wants none,
    empty = one is needed and missing, which every call is then told. ``base_url`` ends in ``/v1`` or the like.
    ``connect_s``, ``stall_s``: seconds. ``max_calls``: at once; more wait for ``connect_s`` and then fail.
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
        can_continue: bool = False,
    ) -> None:
        self.name = name
        self._upstream = Upstream(name, api_key)
        self._api_key = api_key
        self._base_url = base_url
        self._connect_s = connect_s
        self._read_s = stall_s + READ_MARGIN_S
        self._max_calls = max_calls
        self._models = list(models)
        self._can_continue = can_continue
        self._client: AsyncOpenAI | None = None
        self._connecting = asyncio.Lock()

    async def stream(self, call: Call) -> AsyncGenerator[ProviderItem, None]:
        """Ask and yield the answer. Raises :class:`ProviderError` only; one request, no retries."""
        body = request_to_openai(call, official=self.name == "openai")
        client = await self._connected()
        import httpx2  # noqa: PLC0415 - imported on first use
        from openai import AsyncStream, OpenAIError  # noqa: PLC0415 - imported on first use

        state = ChatState(self._upstream, Blocks(call.prefix), salt=uuid4().hex[:12])
        answered = False
        try:
            # The SDK asks, but its stream is not iterated: it builds models that nobody needs from each chunk, or, told
            # not to, still takes longer over a chunk than all of this adapter.
            async with (
                await client.post(
                    "/chat/completions",
                    body=body,
                    options={"headers": self._left_out()},
                    cast_to=object,
                    stream=True,
                    stream_cls=AsyncStream[object],
                ) as answer,
                aclosing(events_of(answer.response, end=b"[DONE]")) as chunks,
            ):
                answered = True
                async for datas in chunks:
                    for data in datas:
                        for item in events_from_chunk(load(data), state):
                            yield item
        except (OpenAIError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            # The SDK's error text may hold the key, so it must not become a part of what is logged.
            raise self._failure(error, answered=answered, prefilled=bool(call.prefix)) from None
        except (JSONDecodeError, UnicodeDecodeError):
            raise malformed(f"{self.name}: a chunk is not JSON") from None
        for item in events_at_end(state):
            yield item

    def can_continue(self, model: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """As configured: vLLM continues for all its models, most servers for none."""
        return self._can_continue

    def models(self) -> list[str]:
        """The configured names."""
        return list(self._models)

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connected(self) -> AsyncOpenAI:
        if self._api_key == "":
            raise self._upstream.no_key()
        async with self._connecting:
            if self._client is None:
                # Importing the SDK takes most of a second, in which other generations of this worker must go on.
                self._client = await asyncio.to_thread(self._make_client)
            return self._client

    def _make_client(self) -> AsyncOpenAI:
        import httpx2  # noqa: PLC0415 - imported on first use
        from openai import AsyncOpenAI, DefaultAioHttpClient  # noqa: PLC0415 - imported on first use

        try:
            return AsyncOpenAI(
                api_key=self._api_key or "none",
                base_url=self._base_url,
                max_retries=0,
                timeout=httpx2.Timeout(self._read_s, connect=self._connect_s, pool=self._connect_s),
                # The SDK's own choice for many calls at once: half the cost of a token, and a pool that costs no call
                # more where there are a thousand.
                http_client=DefaultAioHttpClient(limits=httpx2.Limits(max_connections=self._max_calls)),
            )
        except httpx2.InvalidURL as error:
            raise self._upstream.broken(error, answered=False) from None

    def _left_out(self) -> dict[str, str | Omit]:
        """What the SDK would send by itself, and must not."""
        from openai import Omit  # noqa: PLC0415 - imported on first use

        names: list[str] = [] if self._api_key else ["Authorization"]
        if self.name != "openai":
            # OPENAI_ORG_ID and OPENAI_PROJECT_ID are OpenAI's business only.
            names += ["OpenAI-Organization", "OpenAI-Project"]
        return {name: Omit() for name in names}

    def _failure(self, error: Exception, *, answered: bool, prefilled: bool) -> ProviderError:
        from openai import APIConnectionError, APIError, APIStatusError  # noqa: PLC0415 - imported on first use

        if isinstance(error, APIStatusError):
            return self._upstream.refused(error.status_code, error.body, error.response.headers, prefilled=prefilled)
        if isinstance(error, APIError) and not isinstance(error, APIConnectionError):
            return self._upstream.refused(None, error.body or {"message": error.message}, {})
        return self._upstream.broken(error, answered=answered)
