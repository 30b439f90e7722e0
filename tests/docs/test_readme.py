"""What the documents say is run: every command, every example, as it stands there, with another port."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest

from broker.settings import FileConfig
from rejoinder.balancer import Backend, Balancer
from rejoinder.dev import DevStack
from rejoinder.embedded import EmbeddedServer
from rejoinder.ports import free_port
from tests.docs.blocks import EXECUTABLE, ROOT, Block, all_blocks, groups
from tests.docs.shell import Shell, wait_for, wait_for_events

pytestmark = [pytest.mark.commands, pytest.mark.timeout(120)]

_LIVE = [group for group in groups() if group[0].group != "quickstart"]


def _address(url: str) -> str:
    return url.removeprefix("http://")


def _backend(url: str) -> Backend:
    host, _, port = _address(url).rpartition(":")
    return Backend(host, int(port))


def _served(name: str) -> Block:
    (block,) = (block for block in all_blocks() if block.kind == "serve" and block.group == name)
    return block


@pytest.mark.parametrize("group", _LIVE, ids=lambda group: f"{group[0].document}-{group[0].group}")
async def test_the_examples_do_what_the_documents_say(group: list[Block], tmp_path: Path) -> None:
    """Each block runs to its end against a running service and prints what it promises."""
    async with DevStack(isolated=True) as stack:
        settings = {"REJOINDER_REDIS_URL": stack.redis_url}
        shell = Shell(tmp_path, _address(stack.url), {"8010": str(free_port())}, settings)
        for block in group:
            await asyncio.to_thread(shell.run, block)


@pytest.mark.parametrize("language", ["python", "js"])
async def test_the_clients_survive_cuts(language: str, tmp_path: Path) -> None:
    """While the example reads, every connection is reset, twice; it still gets the whole answer."""
    (example,) = (block for block in all_blocks() if block.document == "README.md" and block.group == language)
    async with DevStack(isolated=True) as stack, Balancer([_backend(stack.url)]) as wire:
        shell = Shell(tmp_path, _address(wire.url))
        running = asyncio.ensure_future(asyncio.to_thread(shell.run, example))
        await wait_for_events(stack.nodes.values(), 10)
        assert wire.cut() > 0
        # What the example missed comes as one merged event, and then the rest, live if there is time left.
        await wait_for_events(stack.nodes.values(), 12)
        wire.cut()
        assert "Nothing was lost — not one word." in await running


@pytest.mark.slow
async def test_the_quickstart_as_a_reader_would_do_it(tmp_path: Path) -> None:
    """Two terminals: the service in one, every other block in the other; worker, nodes and service are killed."""
    port = free_port()
    shell = Shell(tmp_path, f"127.0.0.1:{port}")
    serve = _served("quickstart").code.replace("rejoinder dev", f"rejoinder dev --port {port}")
    (steps,) = groups("docs/quickstart.md")
    at = next(index for index, block in enumerate(steps) if "restart" in block.directives)
    for part in (steps[:at], steps[at:]):
        with shell.serving(serve):
            await wait_for(shell.address)
            for block in part:
                await asyncio.to_thread(shell.run, block)


async def test_one_command_starts_everything(tmp_path: Path) -> None:
    """`rejoinder dev` becomes ready and ends in order on Ctrl-C."""
    port = free_port()
    shell = Shell(tmp_path, f"127.0.0.1:{port}")
    code = _served("dev").code.strip()
    assert code == "rejoinder dev"
    with shell.serving(f"exec {code} --port {port}"):
        await wait_for(shell.address)


async def test_a_fleet_of_single_processes_serves(tmp_path: Path) -> None:
    """A worker and two nodes on one Redis, as docs/operations.md starts them: submitted on one, read on the other."""
    one, two = free_port(), free_port()
    with EmbeddedServer() as server:
        code = _served("fleet").code.replace("redis://127.0.0.1:6379/0", server.url)
        code = code.replace("8001", str(one)).replace("8002", str(two))
        shell = Shell(tmp_path, f"127.0.0.1:{one}")
        with shell.serving(f"trap : INT\n{code}"):
            for port in (one, two):
                await wait_for(f"127.0.0.1:{port}")
            submit = f"rejoinder submit demo/demo-1 hello -o tokens=5 --no-follow --url http://127.0.0.1:{one}"
            read = f'rejoinder tail "$({submit})" --url http://127.0.0.1:{two}'
            block = Block("docs/operations.md", 0, "bash", read, {"run": "fleet; expect: completed (stop)"})
            await asyncio.to_thread(shell.run, block)


def test_every_command_is_run_by_a_test() -> None:
    """No block that a reader might copy into a terminal is left unmarked."""
    unmarked = [str(block) for block in all_blocks() if block.language in EXECUTABLE and not block.kind]
    assert unmarked == []
    assert {block.group for block in all_blocks() if block.kind == "serve"} == {"dev", "quickstart", "fleet"}


@pytest.mark.parametrize("block", [block for block in all_blocks() if block.kind == "make"], ids=str)
def test_make_targets_exist_and_ci_runs_them(block: Block) -> None:
    """What the README tells people to type is a target; CI runs `make check`, whose tests run the same commands."""
    makefile = (ROOT / "Makefile").read_text()
    assert block.code.strip() == f"make {block.group}"
    assert f"\n{block.group}:" in makefile
    assert "\nmake check\n" in (ROOT / ".ci/run").read_text()
    checks = makefile.partition("\ncheck:")[2].splitlines()[0]
    assert block.group in checks.split() or f"rejoinder {block.group}\n" in makefile


async def test_make_demo_proves_what_it_says(tmp_path: Path) -> None:
    """The command behind `make demo`: two cuts, another node each time, nothing lost and nothing twice."""
    expected = {"run": "demo; expect: gaps 0 | duplicates 0"}
    shell = Shell(tmp_path, "127.0.0.1:0")
    await asyncio.to_thread(shell.run, Block("README.md", 0, "bash", "rejoinder demo", expected))


@pytest.mark.parametrize("block", [block for block in all_blocks() if block.language == "toml"], ids=str)
def test_toml_examples_are_valid(block: Block) -> None:
    """What the documents show of the file is accepted by the settings."""
    config = FileConfig.model_validate(tomllib.loads(block.code))
    assert config.providers
