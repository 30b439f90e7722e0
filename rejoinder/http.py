"""The only place that speaks HTTP: requests over one or several base URLs, errors turned into the client's own."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
import msgspec

from rejoinder.backoff import Backoff, Patience, parse_retry_after
from rejoinder.failures import ClientError, Refused, Unreachable

NODE_HEADER = "X-Rejoinder-Node"
_WRITE_S = 30.0
_MAX_PROBLEM = 2000
"""Characters of an error text that are passed on: it may be any proxy's web page."""


class Http:
    """One pool of connections to one service; several base URLs are taken in turn, a failing one is passed over.

    Raises:
        ValueError: for a base URL that is not ``http://`` or ``https://``.
    """

    def __init__(self, base_urls: Sequence[str], api_key: str | None, patience: Patience) -> None:
        if not base_urls:
            raise ValueError("a base URL is needed")
        self._urls = [_checked(url) for url in base_urls]
        self._turn = 0
        self.patience = patience
        headers = {"User-Agent": "rejoinder-python"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._client = httpx2.AsyncClient(
            headers=headers,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
            # A proxy named in the environment has no way to this machine's own loopback.
            trust_env=not all(_is_loopback(url) for url in self._urls),
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    def next_url(self) -> str:
        """The base URL whose turn it is."""
        url = self._urls[self._turn % len(self._urls)]
        self._turn += 1
        return url

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        read_s: float = 30.0,
    ) -> httpx2.Response:
        """One request that may safely be sent twice; passing trouble is retried for ``request_give_up_after_s``.

        Raises:
            Refused: the server answered with an error that lasts.
            Unreachable: no answer at all.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience.request_give_up_after_s
        backoff = Backoff(self.patience)
        while True:
            request = self._client.build_request(
                method,
                self.next_url() + path,
                json=body,
                params=params,
                headers=headers,
                timeout=self._timeout(read_s),
            )
            try:
                return await self._once(request)
            except (Refused, Unreachable) as error:
                delay = backoff.next_delay(error.retry_after_s)
                if not is_passing(error) or loop.time() + delay > deadline:
                    raise
            await asyncio.sleep(delay)

    async def _once(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await self._client.send(request)
        except httpx2.HTTPError as error:
            raise unreachable(request.url, error) from error
        if response.is_error:
            raise refusal(response)
        return response

    @asynccontextmanager
    async def open(self, path: str, headers: Mapping[str, str]) -> AsyncGenerator[httpx2.Response]:
        """One streamed GET, not retried.

        Raises:
            Refused: any answer of 400 and above.
            Unreachable: no answer, also when the body breaks off while it is being read.
        """
        url = self.next_url() + path
        try:
            async with self._client.stream(
                "GET", url, headers=headers, timeout=self._timeout(self.patience.stall_s)
            ) as response:
                if response.is_error:
                    await response.aread()
                    raise refusal(response)
                yield response
        except httpx2.HTTPError as error:
            raise unreachable(url, error) from error

    def _timeout(self, read_s: float) -> httpx2.Timeout:
        return httpx2.Timeout(connect=self.patience.connect_s, read=read_s, write=_WRITE_S, pool=None)


def is_passing(error: ClientError) -> bool:
    """Whether the same request may succeed in a moment."""
    return error.passing if isinstance(error, Refused) else isinstance(error, Unreachable)


def unreachable(url: object, error: Exception) -> Unreachable:
    """The client's word for a connection that failed; the reason is part of the message."""
    parts = urlsplit(str(url))
    return Unreachable(f"no answer from {parts.scheme}://{parts.netloc}: {str(error) or type(error).__name__}")


def refusal(response: httpx2.Response) -> Refused:
    """The client's word for an error answer, read from problem+json where it is that."""
    try:
        problem = msgspec.json.decode(response.content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError):
        problem = {"detail": response.text[:_MAX_PROBLEM]}
    detail = problem.get("detail") or problem.get("title") or f"HTTP {response.status_code}"
    field = problem.get("field")
    return Refused(
        str(detail)[:_MAX_PROBLEM],
        code=str(problem.get("code") or f"http_{response.status_code}"),
        status=response.status_code,
        field=field if isinstance(field, str) else None,
        retry_after_s=parse_retry_after(response.headers.get("retry-after")),
    )


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not a base URL: expected http://host:port or https://host")
    return url.rstrip("/")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
