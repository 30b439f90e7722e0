"""Who is asking: API keys, and, on an open node, that it is someone on this machine. Contract section 6."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import SecretStr
from starlette.datastructures import Headers

from broker.errors import Forbidden, Unauthorized

OPEN_TENANT = "default"
"""Whose generations they are when no keys are set."""


class InsecureBind(RuntimeError):
    """An open node was told to listen where others can reach it."""


class Keyring:
    """The API keys, kept as hashes. Without keys the node is open."""

    def __init__(self, keys: Mapping[str, SecretStr]) -> None:
        self._digests = {tenant: _digest(key.get_secret_value().encode()) for tenant, key in keys.items()}

    @property
    def open(self) -> bool:
        """Whether no key is asked for."""
        return not self._digests

    def tenant(self, headers: Headers, offered: str | None = None) -> str:
        """Whose key the request bears; the first of ``Authorization: Bearer`` and ``x-api-key`` that it has.

        ``offered`` = a key that came another way, where neither header could be set.

        Raises:
            Unauthorized: no key, or none of ours. All keys are compared, whichever is right.
        """
        if self.open:
            return OPEN_TENANT
        credential = bearer(headers.get("authorization")) or headers.get("x-api-key") or offered or ""
        presented = _digest(credential.encode("latin-1"))
        found: str | None = None
        for tenant, digest in self._digests.items():
            if hmac.compare_digest(digest, presented):
                found = tenant
        if found is None:
            raise Unauthorized
        return found


def bearer(authorization: str | None) -> str | None:
    """The credential of a ``Bearer`` header; None for other schemes."""
    scheme, _, credential = (authorization or "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()


class LoopbackGuard:
    """On an open node: refuse what a page of another site made the browser send (DNS rebinding, cross-site POST)."""

    def __init__(self, cors_origins: Sequence[str]) -> None:
        self._origins = frozenset(cors_origins)

    def check(self, headers: Headers, scheme: str) -> None:
        """Raises :class:`Forbidden` for a Host that is not this machine, or an Origin that is another site's."""
        host = headers.get("host")
        if host is not None and not is_loopback(_hostname(host)):
            raise Forbidden("without API keys this node answers to names of this machine only (Host)")
        origin = headers.get("origin")
        if origin is None or origin in self._origins or "*" in self._origins:
            return
        if origin != f"{scheme}://{host}":
            raise Forbidden("without API keys this node refuses requests of other sites (Origin)")


def check_bind(host: str, keyring: Keyring, *, insecure: bool) -> None:
    """Raises :class:`InsecureBind` for an open node that would listen off loopback without being told to."""
    if keyring.open and not insecure and not is_loopback(host):
        raise InsecureBind(
            f"refusing to listen on {host} without API keys: whoever reaches it could spend your provider's money"
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address always means this machine."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


_BEARER = HTTPBearer(auto_error=False, description="An API key")
_API_KEY = APIKeyHeader(name="x-api-key", auto_error=False, description="An API key")


async def _tenant(
    request: Request,
    # Named for the OpenAPI document only; the keyring reads the headers itself.
    _bearer: Annotated[object, Depends(_BEARER)],
    _api_key: Annotated[object, Depends(_API_KEY)],
) -> str:
    return request.app.state.node.keyring.tenant(request.headers)


Tenant = Annotated[str, Depends(_tenant)]
"""The tenant of the request. Raises :class:`Unauthorized` before anything else about the request is judged."""
