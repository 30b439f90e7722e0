"""The command as a whole: exit codes, pipes, JSON, signals. It runs as a process, against a scripted server."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rejoinder.environment import inherited
from rejoinder.exits import ExitCode
from rejoinder.ports import free_port
from tests.cli.stub import HANG, RESET, Stub, as_json, completed, frame, problem, record, started, stream, text

pytestmark = pytest.mark.commands

COMMAND = (sys.executable, "-m", "rejoinder")
ANSWER = stream(started(1), text(2, "Hel\x1blo"), completed(3))


def environment(url: str = "", **more: str) -> dict[str, str]:
    """The test's environment without its own ``REJOINDER_*`` variables."""
    own = {key: value for key, value in inherited().items() if not key.startswith("REJOINDER_")}
    return {**own, "REJOINDER_URL": url, "NO_COLOR": "1", **more} if url else {**own, **more}


class Ran:
    """A command that has ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code, self.out, self.err = code, out.decode(), err.decode()


async def run(*arguments: str, url: str = "", stdin: bytes = b"", more: dict[str, str] | None = None) -> Ran:
    """Run the command to its end."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        env=environment(url, **(more or {})),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return Ran(process.returncode, out, err)


async def test_submit_streams_the_bare_text_into_a_pipe() -> None:
    """Byte for byte, control characters included; options become fields of the request."""
    async with Stub(as_json(record("queued")), ANSWER) as stub:
        ran = await run("submit", "demo/demo-1", "hi", "-o", "tokens=3", "-m", "a=b", "-s", "top_p=0.5", url=stub.url)
    assert (ran.code, ran.out) == (ExitCode.OK, "Hel\x1blo")
    assert "completed (stop) · 2 tokens" in ran.err
    assert json.loads(stub.asked[0].body) == {
        "model": "demo/demo-1",
        "input": "hi",
        "top_p": 0.5,
        "metadata": {"a": "b"},
        "provider_options": {"tokens": 3},
    }


async def test_the_prompt_comes_from_standard_input_and_fields_from_a_file(tmp_path: Path) -> None:
    """Options win over the file, the model's argument too."""
    request = tmp_path / "request.json"
    request.write_text('{"model": "other", "temperature": 1, "stop": ["x"]}')
    async with Stub(as_json(record("queued"))) as stub:
        options = ("--no-follow", "--request", str(request), "--temperature", "0", "--key", "k1")
        ran = await run("submit", "demo/demo-1", "-", *options, url=stub.url, stdin=b"from a pipe")
    assert (ran.code, ran.out) == (ExitCode.OK, "gen_1\n")
    body = {"model": "demo/demo-1", "input": "from a pipe", "temperature": 0, "stop": ["x"]}
    assert json.loads(stub.asked[0].body) == body
    assert stub.asked[0].headers["idempotency-key"] == "k1"


async def test_tail_as_json_is_ndjson() -> None:
    """One line for each event, nothing on standard error."""
    async with Stub(ANSWER) as stub:
        ran = await run("tail", "gen_1", "--json", url=stub.url)
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["id"] for line in lines] == ["7-1", "7-2", "7-3"]
    assert (ran.code, ran.err) == (ExitCode.OK, "")


async def test_a_failed_generation_ends_with_1_and_a_next_step() -> None:
    """The terminal event's error, in words."""
    error = {"code": "provider_auth", "message": "no key", "retryable": False}
    async with Stub(stream(frame("7-1", {"type": "generation.failed", "error": error}))) as stub:
        ran = await run("tail", "gen_1", url=stub.url)
    assert ran.code == ExitCode.FAILED
    assert "error: no key [provider_auth]" in ran.err
    assert "next:" in ran.err


async def test_no_server_ends_with_3_and_says_how_to_start_one() -> None:
    """No traceback, no long wait."""
    ran = await run("get", "gen_1", url=f"http://127.0.0.1:{free_port()}")
    assert ran.code == ExitCode.UNREACHABLE
    assert "rejoinder dev" in ran.err
    assert "Traceback" not in ran.err


async def test_a_refusal_ends_with_4() -> None:
    """With the server's own code."""
    async with Stub(problem(404, "not_found")) as stub:
        ran = await run("tail", "gen_1", url=stub.url)
    assert (ran.code, ran.out) == (ExitCode.REFUSED, "")
    assert "[not_found]" in ran.err
    assert "rejoinder ls" in ran.err


async def test_a_restart_behind_text_in_a_pipe_ends_with_5() -> None:
    """The new attempt's text is not written behind the void one."""
    async with Stub(stream(started(1), text(2, "half"), started(3, attempt=2), text(4, "whole"), HANG)) as stub:
        ran = await run("tail", "gen_1", url=stub.url)
    assert (ran.code, ran.out) == (ExitCode.VOID, "half")


@pytest.mark.parametrize(
    "arguments",
    [("tail", "gen_1", "--after", "x"), ("submit", "m", "p", "-o", "novalue"), ("submit", "m"), ("nope",), ("tail",)],
)
async def test_wrong_usage_ends_with_2(arguments: tuple[str, ...]) -> None:
    """Found before anything is sent where that is possible."""
    ran = await run(*arguments, url="http://127.0.0.1:1")
    assert ran.code == ExitCode.USAGE
    assert "Traceback" not in ran.err


async def test_a_url_that_is_none_ends_with_2() -> None:
    """Named for what it is."""
    ran = await run("ls", "--url", "nonsense")
    assert ran.code == ExitCode.USAGE
    assert "base URL" in ran.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_detaches_and_prints_the_command_that_resumes(number: signal.Signals, code: int) -> None:
    """With the position reached and the server asked."""
    async with Stub(stream(started(1), text(2, "Hel"), HANG)) as stub:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "tail", "gen_1", env=environment(stub.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readexactly(3) == b"Hel"
        process.send_signal(number)
        _, err = await process.communicate()
    assert process.returncode == code
    assert f"rejoinder tail gen_1 --after 7-2 --url {stub.url}" in err.decode()


async def test_a_reader_that_goes_away_is_no_error() -> None:
    """``rejoinder tail … | head`` must not end in a traceback."""
    reader, writer = os.pipe()
    async with Stub(stream(started(1), text(2, "Hel"), text(3, "lo"), completed(4))) as stub:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "tail", "gen_1", env=environment(stub.url), stdout=writer, stderr=subprocess.PIPE
        )
        os.close(writer)
        os.close(reader)
        _, err = await process.communicate()
    assert process.returncode == ExitCode.PIPE_CLOSED
    assert b"Traceback" not in err
    assert b"Exception" not in err


async def test_on_a_terminal_text_is_neutralised_and_the_screen_is_given_back() -> None:
    """On a real pseudo-terminal, over a reconnect."""
    primary, secondary = pty.openpty()
    async with Stub(stream(started(1), text(2, "Hel\x1b]0;x\x07lo")), stream(text(3, "!"), completed(4))) as stub:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "tail", "gen_1", env=environment(stub.url, TERM="xterm"), stdout=secondary, stderr=secondary
        )
        os.close(secondary)
        shown = b""
        while chunk := await asyncio.to_thread(_read, primary):
            shown += chunk
        os.close(primary)
        assert await process.wait() == ExitCode.OK
    seen = shown.decode()
    assert "Hel␛]0;x␇lo" in seen
    assert "\x1b]0" not in seen
    assert "\x1b[1;" not in seen or "\x1b[r" in seen
    assert "completed (stop) · 2 tokens · 40.0/s · first token 0.01 s · node-a · 1 reconnect · gen_1" in seen


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


async def test_get_ls_and_cancel() -> None:
    """For people and, with --json, for programs; a model's text can't reach the terminal's controls."""
    output: dict[str, object] = {"text": "Hello \x1b[31m", "reasoning": "", "tool_calls": []}
    whole = record("completed", output=output, usage={"output_tokens": 5}, finish_reason="stop")
    page = b'{"object":"list","data":[' + whole + b'],"next_cursor":null}'
    async with Stub(as_json(whole)) as stub:
        shown = await run("get", "gen_1", url=stub.url)
        assert "completed (stop)" in shown.out
        assert "Hello ␛[31m" in shown.out
        assert json.loads((await run("get", "gen_1", "--json", url=stub.url)).out)["status"] == "completed"
        assert (await run("get", "gen_1", "--text", url=stub.url)).out == "Hello \x1b[31m"
        assert (await run("cancel", "gen_1", url=stub.url)).out == "gen_1 completed\n"
    async with Stub(as_json(page)) as stub:
        listed = await run("ls", "--status", "completed", "-n", "5", url=stub.url)
        assert "gen_1" in listed.out
        assert json.loads((await run("ls", "--json", url=stub.url)).out)["id"] == "gen_1"
    assert stub.asked[0].line == "GET /v1/generations?status=completed&limit=5 HTTP/1.1"


async def test_config_tells_value_and_source_and_hides_secrets(tmp_path: Path) -> None:
    """Also secrets inside URLs and in the file."""
    file = tmp_path / "r.toml"
    file.write_text('[providers.vllm]\nbase_url = "http://me:pw@gpu:8000/v1"\n')
    settings = {
        "REJOINDER_REDIS_URL": "redis://user:hunter2@db:6379/0",
        "REJOINDER_API_KEYS": "acme:hunter2",
        "OPENAI_API_KEY": "hunter2",
        "REJOINDER_CONFIG": str(file),
    }
    ran = await run("config", "--json", more=settings)
    rows = {row["name"]: row for row in json.loads(ran.out)}
    assert "hunter2" not in ran.out + ran.err
    assert ":pw@" not in ran.out
    assert rows["REJOINDER_REDIS_URL"]["source"] == rows["OPENAI_API_KEY"]["source"] == "env"
    assert rows["REJOINDER_LEASE_S"]["source"] == "default"
    assert rows["[providers.vllm]"]["source"] == "file"
    shown = await run("config", more=settings)
    assert "REJOINDER_REDIS_URL" in shown.out
    assert "hunter2" not in shown.out


@pytest.mark.parametrize("command", [("config",), ("worker",), ("api",), ("dev",)])
async def test_a_setting_that_does_not_hold_ends_with_2_and_is_named(command: tuple[str, ...]) -> None:
    """All of them at once, without repeating a value that may be secret."""
    ran = await run(*command, more={"REJOINDER_LEASE_S": "soon", "REJOINDER_API_KEYS": "hunter2"})
    assert ran.code == ExitCode.USAGE
    assert "REJOINDER_LEASE_S" in ran.err
    assert "REJOINDER_API_KEYS" in ran.err
    assert "hunter2" not in ran.err


async def test_an_open_node_off_loopback_is_refused_with_a_next_step() -> None:
    """Contract section 6, in the command's words."""
    ran = await run("api", "--host", "0.0.0.0", "--port", "0")
    assert ran.code == ExitCode.USAGE
    assert "REJOINDER_API_KEYS" in ran.err


async def test_help_loads_neither_servers_nor_providers() -> None:
    """What makes ``--help`` fast, held without a stopwatch."""
    code = (
        "import sys\n"
        "from rejoinder.cli import app\n"
        "try:\n    app(['--help'], prog_name='rejoinder')\nexcept SystemExit: pass\n"
        "heavy = {'openai', 'anthropic', 'fastapi', 'uvicorn', 'redis', 'arq', 'httpx2', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.decode().splitlines()[-1] == "[]"


async def test_a_reconnect_inside_the_command_keeps_the_text_whole() -> None:
    """The pipe's reader notices nothing."""
    async with Stub(stream(started(1), text(2, "Hel"), RESET), stream(text(3, "lo"), completed(4))) as stub:
        ran = await run("tail", "gen_1", url=stub.url)
    assert (ran.code, ran.out) == (ExitCode.OK, "Hello")
    assert "1 reconnect" in ran.err
