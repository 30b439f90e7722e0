"""Whether a client was left with what it should be left with. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.clients.golden import Whole
from tests.clients.left import Left, ToolUse
from tests.clients.outcomes import Outcome


def complaints(left: Left, expected: Outcome, whole: Whole) -> list[str]:
    """All that is not as it should be; empty = all is well."""
    found: list[str] = []
    error = left.error.type if left.error else None
    if error not in (expected.errors or (None,)):
        found.append(f"error {left.error}, not one of {expected.errors}")
    if expected.finish is not None and left.finish != expected.finish:
        found.append(f"finish {left.finish!r}, not {expected.finish!r}")
    reasoning = whole.reasoning if expected.reasoning else ""
    if not expected.complete:
        parts = ((left.text, whole.text), (left.reasoning, reasoning))
        wrong = [part for part, all_ in parts if not expected.holes and not all_.startswith(part)]
        found += [f"{part!r} is no beginning of the answer" for part in wrong]
    elif (left.text, left.reasoning, _calls(left.tools)) != (whole.text, reasoning, _calls(whole.tools)):
        found.append(f"{left} is not {whole}")
    if left.answers > 1 or (expected.complete and left.answers == 0):
        found.append(f"{left.answers} answers on the page")
    return found


def silent(left: Left, whole: Whole) -> bool:
    """Whether the client takes a part for the whole: the one thing that may never happen."""
    return left.error is None and left.finish not in ("cancelled", "interrupted") and left.text != whole.text


def _calls(tools: Sequence[ToolUse]) -> list[tuple[str, Any]]:
    """Some clients parse the arguments and write them out again: spaces and escapes say nothing."""
    return [(tool.name, json.loads(tool.arguments)) for tool in tools]
