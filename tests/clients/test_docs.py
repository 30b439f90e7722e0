"""docs/clients.md and the README: the compilers take their examples, and the table has every client."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.clients.clients import CLIENTS
from tests.clients.node import bundle
from tests.clients.outcomes import LABELS, TRAITS
from tests.docs.blocks import ROOT, Block, blocks

pytestmark = [pytest.mark.clients, pytest.mark.timeout(60)]

_BLOCKS = [*blocks(ROOT / "docs/clients.md"), *blocks(ROOT / "README.md")]


def _of(language: str) -> list[Block]:
    return [block for block in _BLOCKS if block.language == language]


@pytest.mark.parametrize("block", _of("py"), ids=str)
def test_python_imports_what_there_is(block: Block) -> None:
    """It parses, and every name it imports is there."""
    found: dict[str, object] = {}
    for node in ast.walk(ast.parse(block.code)):
        if isinstance(node, ast.ImportFrom | ast.Import):
            exec(ast.unparse(node), found)
            assert {name.asname or name.name.partition(".")[0] for name in node.names} <= found.keys()


@pytest.mark.parametrize("block", _of("ts"), ids=str)
async def test_typescript_imports_what_there_is(block: Block, tmp_path: Path) -> None:
    """Esbuild bundles it with the packages as they are: it parses, and every name it imports is there."""
    await bundle(block.code, tmp_path, "node")


def test_every_client_is_in_the_table() -> None:
    """A client that is tested is a row of the table, and no row is without a test."""
    tested = {name.removesuffix("-sync") for name in CLIENTS}
    assert tested == set(LABELS) == set(TRAITS)
