"""OpenAI's own SDK as the adapters use it: one client for each provider, made when it is first needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.errors import ProviderError
from worker.providers.failures import READ_MARGIN_S, Upstream

if TYPE_CHECKING:
    from openai import AsyncOpenAI, Omit


class OpenAIClient:
    """How to reach one OpenAI-compatible upstream.

    ``official`` means OpenAI itself. ``api_key`` None = the server wants none, empty = one is needed and missing, which
    every call is then told. ``base_url`` ends in ``/v1`` or the like. ``connect_s``, ``stall_s``: seconds.
    ``max_calls``: at once; more wait for ``connect_s`` and then fail.
    """

    def __init__(
        self,
        name: str,
        *,
        official: bool,
        api_key: str | None,
        base_url: str,
        connect_s: float,
        stall_s: float,
        max_calls: int,
    ) -> None:
        self.upstream = Upstream(name, api_key)
        self._official = official
        self._api_key = api_key
        self._base_url = base_url
        self._connect_s = connect_s
        self._read_s = stall_s + READ_MARGIN_S
        self._max_calls = max_calls
        self._client: AsyncOpenAI | None = None
        self._connecting = asyncio.Lock()

    async def connected(self) -> AsyncOpenAI:
        """The SDK's client. Raises :class:`ProviderError` where a key is missing or the base URL is none."""
        if self._api_key == "":
            raise self.upstream.no_key()
        async with self._connecting:
            if self._client is None:
                # Importing the SDK takes most of a second, in which other generations of this worker must go on.
                self._client = await asyncio.to_thread(self._make_client)
            return self._client

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

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
            raise self.upstream.broken(error, answered=False) from None

    def left_out(self) -> dict[str, str | Omit]:
        """What the SDK would send by itself, and must not."""
        from openai import Omit  # noqa: PLC0415 - imported on first use

        names: list[str] = [] if self._api_key else ["Authorization"]
        if not self._official:
            # OPENAI_ORG_ID and OPENAI_PROJECT_ID are OpenAI's business only.
            names += ["OpenAI-Organization", "OpenAI-Project"]
        return {name: Omit() for name in names}

    def failure(self, error: Exception, *, answered: bool, prefilled: bool = False) -> ProviderError:
        """What an error of the SDK or of its HTTP client means."""
        from openai import APIConnectionError, APIError, APIStatusError  # noqa: PLC0415 - imported on first use

        if isinstance(error, APIStatusError):
            return self.upstream.refused(error.status_code, error.body, error.response.headers, prefilled=prefilled)
        if isinstance(error, APIError) and not isinstance(error, APIConnectionError):
            return self.upstream.refused(None, error.body or {"message": error.message}, {})
        return self.upstream.broken(error, answered=answered)
