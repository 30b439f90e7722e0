"""The whole service in one command, and the demo on it: real processes, real cuts."""

from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from broker.record import Output, Record, links
from broker.values import Timing, Usage
from rejoinder.balancer import Balancer
from rejoinder.client import Client
from rejoinder.demo import CUT_AFTER, TOKENS, Run, checks, demo
from rejoinder.dev import DevError, DevStack
from rejoinder.exits import ExitCode
from rejoinder.ledger import Ledger
from rejoinder.ports import free_port
from rejoinder.stream_event import StreamEvent
from tests.cli.test_cli import environment, run
from tests.cli.test_embedded import is_alive
from tests.support.waiting import START_S, wait_until

pytestmark = [pytest.mark.commands, pytest.mark.slow]


def good_run() -> Run:
    """A run in which everything holds."""
    ledger = Ledger()
    ledger.take(StreamEvent("7-1", "text.delta", {"text": "whole"}, "node-a"))
    ledger.take(StreamEvent("7-2", "generation.completed", {}, "node-b"))
    record = Record(
        id="gen_1",
        status="completed",
        model="demo/demo-1",
        created_at=0,
        output=Output(text="whole"),
        usage=Usage(output_tokens=TOKENS),
        timing=Timing(ttft_ms=9),
        links=links("gen_1"),
    )
    return Run(ledger, ["node-a", "node-b", "node-a"], len(CUT_AFTER), record)


def test_the_proof_holds_for_a_good_run_and_says_the_agreed_words() -> None:
    """The words are the contract's."""
    proof = checks(good_run())
    assert all(check.holds for check in proof)
    assert {"gaps 0", "duplicates 0", "nodes used 2", "drops 2"} <= {check.claim for check in proof}


@pytest.mark.parametrize(
    "fault", ["gap", "duplicate", "drops", "nodes", "same node twice", "text", "tokens", "cut short"]
)
def test_the_proof_fails_for_every_fault(fault: str) -> None:
    """A proof that can't fail proves nothing."""
    found = good_run()
    assert found.record is not None
    match fault:
        case "gap":
            found.ledger.take(StreamEvent("7-9", "text.delta", {"text": ""}, "node-a"))
        case "duplicate":
            found.ledger.take(StreamEvent("7-2", "text.delta", {"text": ""}, "node-a"))
        case "drops":
            found.drops = 1
        case "nodes":
            found.served = ["node-a"]
        case "same node twice":
            found.served = ["node-a", "node-b", "node-b"]
        case "text":
            found.ledger.text = "other"
        case "tokens":
            found.record = msgspec.structs.replace(found.record, usage=Usage(output_tokens=1))
        case _:
            found.ledger.end = None
    assert not all(check.holds for check in checks(found))


async def test_the_demo_proves_it() -> None:
    """Two real cuts, two real nodes, plain text where there is no terminal."""
    out = io.StringIO()
    async with asyncio.timeout(20):
        code = await demo(Console(file=out, width=100))
    assert code == ExitCode.OK, out.getvalue()
    for words in ("gaps 0", "duplicates 0", "drops 2", "nodes used 2", f"tokens {TOKENS}", "TTFT"):
        assert words in out.getvalue()
    assert "\x1b" not in out.getvalue()


async def test_a_stack_serves_heals_and_leaves_nothing_behind() -> None:
    """Node, worker and server are killed in turn; what was written stays."""
    notes: list[str] = []
    async with DevStack(isolated=True, on_note=notes.append) as stack, Client(stack.url) as client:
        assert list(stack.nodes) == ["node-a", "node-b"]
        assert set(stack.pids) == {"node-a", "node-b", "worker", "redis"}
        seen = set(stack.pids.values())
        record = await client.submit("demo/demo-1", "hi", provider_options={"tokens": 5, "rate": 0})
        assert (await client.wait(record.id, timeout_s=10)).status == "completed"
        for name in ("node-a", "worker", "redis"):
            old = stack.pids[name]
            stack.kill(name)
            await wait_until(lambda name=name, old=old: stack.pids.get(name) not in {None, old})
            seen.update(stack.pids.values())
        await stack.wait_ready()
        assert (await client.get(record.id)).status == "completed"
        again = await client.submit("demo/demo-1", "hi", provider_options={"tokens": 5, "rate": 0})
        assert (await client.wait(again.id, timeout_s=15)).status == "completed"
    assert stack.starts("worker") == 2
    assert [note.split()[0] for note in notes] == ["node-a", "worker", "the"]
    assert not any(is_alive(pid) for pid in seen)


async def test_an_error_in_the_body_comes_out_as_itself() -> None:
    """Not wrapped in a group."""
    with pytest.raises(ZeroDivisionError):
        async with DevStack(isolated=True):
            raise ZeroDivisionError


async def test_children_that_can_not_run_are_an_error_with_their_words() -> None:
    """A wrong setting is named, not tried over and over."""
    with pytest.raises(DevError, match="REJOINDER_LEASE_S"):
        async with DevStack(isolated=True, env={"REJOINDER_LEASE_S": "soon"}):
            pass


async def test_a_redis_that_is_not_there_is_said_with_a_next_step() -> None:
    """Before any child is started."""
    with pytest.raises(DevError, match="unset the variable"):
        async with DevStack(isolated=True, redis_url=f"redis://127.0.0.1:{free_port()}/0"):
            pass


async def test_a_taken_port_is_said_with_a_next_step() -> None:
    """The next step is a command that can be pasted."""
    async with Balancer() as taken:
        ran = await run("dev", "--port", str(taken.port))
    assert ran.code == ExitCode.FAILED
    assert "is taken" in ran.err
    assert f"rejoinder dev --port {taken.port + 1}" in ran.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_dev_ends_with_all_it_started(number: signal.Signals, tmp_path: Path) -> None:
    """In order when asked, and by the kernel's hand when killed."""
    ready = tmp_path / "ready.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rejoinder", "dev", "--port", "0", "--ready-file", str(ready)),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    await wait_until(lambda: ready.exists() or process.returncode is not None, START_S)
    facts = msgspec.json.decode(ready.read_bytes())
    assert ready.stat().st_mode & 0o077 == 0
    assert len(facts["pids"]) == 4
    process.send_signal(number)
    out, _ = await process.communicate()
    await wait_until(lambda: not any(is_alive(pid) for pid in facts["pids"].values()))
    if number != signal.SIGKILL:
        assert process.returncode == ExitCode.OK
        assert not ready.exists()
        assert facts["url"] in out.decode()
