"""docs/clients.md: its examples are what the compilers of their languages take, and its table has every client."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

from tests.clients.clients import CLIENTS
from tests.clients.node import JS, NODE
from tests.clients.outcomes import LABELS, TRAITS
from tests.docs.blocks import ROOT, Block, blocks

pytestmark = [pytest.mark.clients, pytest.mark.timeout(60)]

_BLOCKS = blocks(ROOT / "docs" / "clients.md")


def _of(language: str) -> list[Block]:
    return [block for block in _BLOCKS if block.language == language]


@pytest.mark.parametrize("block", _of("py"), ids=str)
def test_python_imports_what_there_is(block: Block) -> None:
    """It parses, and every name it imports is there."""
    for node in ast.walk(ast.parse(block.code)):
        if isinstance(node, ast.ImportFrom | ast.Import):
            exec(ast.unparse(node), {})


@pytest.mark.parametrize("block", _of("ts"), ids=str)
async def test_typescript_imports_what_there_is(block: Block, tmp_path: Path) -> None:
    """Esbuild bundles it with the packages as they are: it parses, and every name it imports is there."""
    source = JS.parent / "node_modules" / f".{tmp_path.name}-{block.line}.ts"
    source.write_text(block.code)
    script = tmp_path / "check.mjs"
    script.write_text(
        f'import {{ build }} from "{(JS.parent / "node_modules/esbuild/lib/main.js").as_uri()}";\n'
        f'const {{ warnings }} = await build({{ entryPoints: ["{source}"], bundle: true, write: false, '
        'format: "esm", platform: "node", logLevel: "error" });\n'
        'if (warnings.some(({ id }) => id.startsWith("import-"))) throw new Error(JSON.stringify(warnings));\n'
    )
    try:
        process = await asyncio.create_subprocess_exec(str(NODE), str(script), stderr=asyncio.subprocess.PIPE)
        _, said = await process.communicate()
    finally:
        source.unlink()
    assert process.returncode == 0, said.decode()


def test_every_client_is_in_the_table() -> None:
    """A client that is tested is a row of the table, and no row is without a test."""
    tested = {name.removesuffix("-sync") for name in CLIENTS}
    assert tested == set(LABELS) == set(TRAITS)
