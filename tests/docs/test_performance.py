"""docs/performance.md quotes what was measured, and its commands are there to be run."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex

import pytest

from bench import capacity, quote
from bench.peers.install import PINNED, SERVER
from tests.docs.blocks import ROOT, Block, all_blocks

_LONG = [block for block in all_blocks() if block.kind == "long"]
_PAGE = ROOT / "docs" / "performance.md"


def test_the_documents_quote_the_last_run() -> None:
    """`python -m bench.quote --check` finds nothing to write, and there is something to quote."""
    assert quote.main(["--check"]) == 0
    assert len(re.findall(r"<!-- measured: ", _PAGE.read_text())) > 5


@pytest.mark.parametrize("block", _LONG, ids=str)
def test_commands_that_take_minutes_exist(block: Block) -> None:
    """A target of the Makefile, or a module that can be run."""
    makefile = (ROOT / "Makefile").read_text()
    for line in block.code.splitlines():
        match shlex.split(line):
            case ["make", target]:
                assert re.search(rf"^{re.escape(target)}:.*##", makefile, re.MULTILINE), line
            case ["python", "-m", module, *_]:
                assert importlib.util.find_spec(module) is not None, line
            case _:
                pytest.fail(f"neither make nor python -m: {line}")


def test_the_plan_that_is_shown_is_the_one_its_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """With the arguments that stand in the document."""
    (command,) = [line for block in _LONG for line in block.code.splitlines() if " bench.capacity " in line]
    capacity.main(shlex.split(command)[3:])
    assert capsys.readouterr().out in _PAGE.read_text()


def test_the_peers_versions_are_those_that_were_installed() -> None:
    """What the page names is what the lock pins."""
    pinned = json.loads((SERVER / "package.json").read_text())["dependencies"]
    text = _PAGE.read_text()
    assert f"resumable-stream {pinned['resumable-stream']}" in text
    assert f"`redis` {pinned['redis']}" in text
    assert f"LiteLLM {dict(line.split('==') for line in PINNED.read_text().splitlines())['litellm']}" in text


def test_every_picture_of_a_curve_is_shown() -> None:
    """What is drawn is looked at."""
    drawn = {path.name for path in (ROOT / "bench" / "results" / "curves").glob("*.svg")}
    assert drawn == set(re.findall(r"results/curves/([a-z]+\.svg)", _PAGE.read_text()))
