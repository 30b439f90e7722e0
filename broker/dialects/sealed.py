"""Reasoning that only its own provider can read, on its way through another vendor's wire: pure.

A signature or an encrypted thought must come back to the provider that made it, byte for byte, and to no other, which
would refuse it. A vendor's own wire carries it as it is. In another vendor's field it is sealed: who made it and what
it is stand in front of it.
"""

from __future__ import annotations

import re
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
