"""The documents say what the code says, and their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from broker.events import EVENT_TYPES, event_type
from broker.record import Record
from broker.request import GenerationRequest
from tests.docs.blocks import ROOT, documents

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_CLAUSE = re.compile(r"^\*\*([A-Z]+)-([0-9]+)\*\*", re.MULTILINE)
_CITED = re.compile(r"\b(POS|LOG|EVT|WR|READ|SSE|HTTP|ERR|OPS|SEC|WS)-([0-9]+)\b")


def test_generated_blocks_are_fresh() -> None:
    """`docs/generate.py --check` finds nothing to write."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def _anchors(path: Path) -> set[str]:
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(path.read_text())
    }


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names a file that exists and, where it has one, a heading in it."""
    broken: list[str] = []
    for link in _LINK.findall(path.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_clauses_are_numbered_without_holes() -> None:
    """Every series of PROTOCOL.md counts 1, 2, 3 …, and every clause that is cited anywhere exists."""
    clauses = [(series, int(number)) for series, number in _CLAUSE.findall((ROOT / "PROTOCOL.md").read_text())]
    for series in {series for series, _ in clauses}:
        numbers = [number for name, number in clauses if name == series]
        assert numbers == list(range(1, len(numbers) + 1)), series
    sources = [
        path for part in ("broker", "worker", "api", "rejoinder", "tests") for path in (ROOT / part).rglob("*.py")
    ]
    texts = [path.read_text() for path in [*sources, *documents()] if path != Path(__file__)]
    cited = {(series, int(number)) for text in texts for series, number in _CITED.findall(text)}
    assert cited - set(clauses) == set()


def test_every_event_type_has_a_clause() -> None:
    """The protocol names all types of events that the code can write."""
    protocol = (ROOT / "PROTOCOL.md").read_text()
    described = set(re.findall(r"^\*\*EVT-[0-9]+\*\* `([a-z_.]+)`", protocol, re.MULTILINE))
    assert {event_type(event) for event in EVENT_TYPES} == described


def test_every_field_of_request_and_record_is_described() -> None:
    """HTTP-1 and HTTP-4 list exactly what may be asked for and what is answered."""
    protocol = (ROOT / "PROTOCOL.md").read_text()
    request, record = (_fields(protocol.partition(f"**{clause}**")[2]) for clause in ("HTTP-1", "HTTP-4"))
    assert request == set(GenerationRequest.model_fields)
    assert record == set(Record.__struct_fields__)


def _fields(text: str) -> set[str]:
    rows = text.partition("| --- |")[2].partition("\n\n")[0].splitlines()[1:]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_no_path_of_a_machine_and_no_address_of_a_registry() -> None:
    """The documents name nothing that exists on one machine only."""
    for path in documents():
        assert re.search(r"/(work|root|home|Users)/\w", path.read_text()) is None, path
