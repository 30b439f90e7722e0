"""docs/faults.md and docs/guarantees.md name tests that exist, and leave no line without one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
_NODE = re.compile(r"`(tests/[\w/]+\.py)(?:::([\w:]+))?`")
_ROW = re.compile(r"^\| (F-[A-Z]+-\d+) \|", re.MULTILINE)


@cache
def _names(path: Path) -> set[str]:
    """Every test of a file, with its class and without."""
    return set(_tests(ast.parse(path.read_text()).body, ""))


def _tests(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _tests(node.body, f"{node.name}::")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield prefix + node.name
            yield node.name


def rows(document: str) -> list[str]:
    """The lines of a document's tables that have an id."""
    return [line for line in (ROOT / "docs" / document).read_text().splitlines() if re.match(r"\| (F-|G\d)", line)]


@pytest.mark.parametrize("document", ["faults.md", "guarantees.md"])
def test_every_test_that_is_named_exists(document: str) -> None:
    """A renamed test must not leave a promise without its proof."""
    named = [match.groups() for line in rows(document) for match in _NODE.finditer(line)]
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).exists() or (name and name not in _names(ROOT / path))
    ]
    assert len(named) > 15
    assert missing == []


def test_every_fault_has_a_test_or_says_why_not() -> None:
    """By an id of its own."""
    lines = rows("faults.md")
    ids = _ROW.findall("\n".join(lines))
    assert len(ids) == len(set(ids)) == len(lines)
    bare = [line[:20] for line in lines if not _NODE.search(line) and not re.search(r"not supported yet|bench", line)]
    assert bare == []


def test_every_guarantee_has_a_proof() -> None:
    """A promise without a test is a wish."""
    assert [line[:8] for line in rows("guarantees.md") if not _NODE.search(line)] == []
