"""OpenAI's ``/chat/completions`` and whatever speaks it, through OpenAI's own SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from json import JSONDecodeError
from uuid import uuid4

from worker.providers.answer import MAX_CALLS, events_of
from worker.providers.asked import chat_body
from worker.providers.base import Call, ProviderItem
from worker.providers.blocks import Blocks, malformed
from worker.providers.openai_chat_map import ChatState, events_at_end, events_from_chunk
from worker.providers.openai_client import OpenAIClient
from worker.providers.sse import load

OPENAI_URL = "https://api.openai.com/v1"


class OpenAIChatProvider:
    """One OpenAI-compatible upstream.

    ``name`` ``openai`` means OpenAI itself, see :func:`broker.dialects.to_chat.request_to_chat`; the rest as for
    :class:`OpenAIClient`.
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
        takes_reasoning: bool = True,
    ) -> None:
        self.name = name
        self._client = OpenAIClient(
            name,
            official=name == "openai",
            api_key=api_key,
            base_url=base_url,
            connect_s=connect_s,
            stall_s=stall_s,
            max_calls=max_calls,
        )
        self._models = list(models)
        self._can_continue = can_continue
        self._takes_reasoning = takes_reasoning

    async def stream(self, call: Call) -> AsyncGenerator[ProviderItem, None]:
        """Ask and yield the answer. Raises :class:`ProviderError` only; one request, no retries."""
        official, thoughts = self.name == "openai", self._takes_reasoning
        body = chat_body(call, official=official, provider=self.name, thoughts=thoughts)
        client = await self._client.connected()
        import httpx2  # noqa: PLC0415 - imported on first use
        from openai import AsyncStream, OpenAIError  # noqa: PLC0415 - imported on first use

        state = ChatState(self._client.upstream, Blocks(call.prefix), salt=uuid4().hex[:12])
        answered = False
        try:
            # The SDK asks, but its stream is not iterated: it builds models that nobody needs from each chunk, or, told
            # not to, still takes longer over a chunk than all of this adapter.
            async with (
                await client.post(
                    "/chat/completions",
                    body=body,
                    options={"headers": self._client.left_out()},
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
            raise self._client.failure(error, answered=answered, prefilled=bool(call.prefix)) from None
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
        await self._client.aclose()
