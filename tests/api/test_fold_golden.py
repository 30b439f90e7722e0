"""The exact bytes of the formats with a memory, one file each; ``make golden`` rewrites them, and the diff is read."""

from __future__ import annotations

import os

import pytest

from api.formats import FOLDS
from api.formats.folded import Folded
from broker.position import Cursor
from broker.request import Wire
from tests.api.folding import submission
from tests.api.test_golden import FILES, items

pytestmark = pytest.mark.golden

WIRE = Wire(dialect="openai.chat", echo={"include_usage": True})


@pytest.mark.parametrize("name", ["openai.chat", "anthropic"])
def test_the_bytes_are_what_they_were(name: str) -> None:
    """A change of a format is a change of a file that somebody reads."""
    reader = Folded(FOLDS[name], Cursor(), merged=True, submission=submission(WIRE))
    reader.begin(0)
    body = reader.preamble(1000) + b"".join(frame for item in items() for frame in reader.frames(item))
    path = FILES / f"out_{name.replace('.', '_')}.txt"
    if os.environ.get("REGOLD"):  # noqa: TID251 - the suite's own switch
        path.write_bytes(body + reader.heartbeat)
    assert path.read_bytes() == body + reader.heartbeat
