"""nginx as people run it: round robin over the nodes, no affinity, with the project's own configuration."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from rejoinder.ports import free_port
from rejoinder.probe import can_connect
from tests.support.waiting import wait_until

_CONF = Path(__file__).parent.parent.parent / "deploy" / "nginx.conf"
_MAIN = """
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    {http}
    proxy_connect_timeout 1s;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    {conf}
}}
"""


class Nginx:
    """An async context manager. Raises ``RuntimeError`` where nginx is not installed.

    ``http`` and ``server`` are further lines for those blocks of the configuration.
    """

    def __init__(self, node_ports: Sequence[int], *, http: str = "", server: str = "") -> None:
        self._nodes = node_ports
        self._http = http
        self._server = server
        self.port = free_port()

    @property
    def url(self) -> str:
        """The front."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
        if binary is None:
            raise RuntimeError("nginx is needed: apt-get install nginx-light")
        self._directory = tempfile.TemporaryDirectory(prefix="rejoinder-nginx-", ignore_cleanup_errors=True)
        self._process = self._start(binary, Path(self._directory.name))
        await wait_until(lambda: can_connect(f"redis://127.0.0.1:{self.port}"))
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 10)
        self._directory.cleanup()

    def _start(self, binary: str, directory: Path) -> subprocess.Popen[bytes]:
        # nginx gives its workers to another user, who has to get in.
        directory.chmod(0o755)
        config = directory / "nginx.conf"
        config.write_text(_MAIN.format(dir=directory, conf=self._conf(), http=self._http))
        return subprocess.Popen([binary, "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(config)])

    def _conf(self) -> str:
        text = _CONF.read_text()
        options = re.findall(r"^    server \S+:\d+([^;]*);\n", text, re.MULTILINE)
        servers = "".join(f"    server 127.0.0.1:{port}{options[0]};\n" for port in self._nodes)
        text, upstreams = re.subn(r"(?:^    server \S+:\d+[^;]*;\n)+", servers, text, flags=re.MULTILINE)
        text, listens = re.subn(r"listen \d+;", f"listen 127.0.0.1:{self.port};\n{self._server}", text)
        if (upstreams, listens) != (1, 1):
            raise RuntimeError("deploy/nginx.conf has another form than this test knows")
        return text
