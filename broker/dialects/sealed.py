"""Reasoning that only its own provider can read, on its way through another vendor's wire: pure.

A signature or an encrypted thought must come back to the provider that made it, byte for byte, and to no other, which
would refuse it. A vendor's own wire carries it as it is. In another vendor's field it is sealed: who made it and what
it is stand in front of it.

What a provider signs a tool call with has no field in any other wire, chat completions as OpenAI's clients speak them
included. It is sealed into the call's id: clients give that back as it is, with the call and with its result.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Literal, NamedTuple

Part = Literal["signature", "opaque"]

_SEALED = re.compile(r"rj1\.(?P<provider>[^.]+)\.(?P<part>signature|opaque)\.(?P<payload>.*)", re.DOTALL)


class Sealed(NamedTuple):
    """What a sealed field holds."""

    provider: str
    part: Part
    payload: str


def seal(provider: str, part: Part, payload: str, *, home: str) -> str:
    """What to write into a field of the wire at ``home``: there the bare payload, elsewhere a sealed one."""
    return payload if provider == home else f"rj1.{provider.replace('.', '_')}.{part}.{payload}"


def unseal(field: str, part: Part, *, home: str) -> Sealed:
    """The inverse: a field without a seal was written by ``home`` itself and holds its ``part``."""
    match = _SEALED.fullmatch(field)
    if match is None:
        return Sealed(home, part, field)
    kind: Part = "signature" if match["part"] == "signature" else "opaque"
    return Sealed(match["provider"], kind, match["payload"])


_SIGNED_ID = re.compile(r"(?P<id>.+?)__rj1_(?P<seal>[A-Za-z0-9_-]+)", re.DOTALL)


class SignedCall(NamedTuple):
    """A call's id as its provider knows it, and how it signed the call; empty where it did not."""

    id: str
    provider: str = ""
    signature: str = ""


def sign_call(call_id: str, provider: str, signature: str) -> str:
    """The id under which a signed call goes out; of letters that every vendor takes in an id."""
    seal = urlsafe_b64encode(f"{provider}\n{signature}".encode()).decode().rstrip("=")
    return f"{call_id}__rj1_{seal}"


def signed_call(call_id: str) -> SignedCall:
    """The inverse; an id without a seal, or with one that is none of ours, is a call's own."""
    match = _SIGNED_ID.fullmatch(call_id)
    if match is None:
        return SignedCall(call_id)
    try:
        provider, _, signature = (
            urlsafe_b64decode(match["seal"] + "=" * (-len(match["seal"]) % 4)).decode().partition("\n")
        )
    except (Error, UnicodeDecodeError):
        return SignedCall(call_id)
    return SignedCall(match["id"], provider, signature) if signature else SignedCall(call_id)
