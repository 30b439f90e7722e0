"""``python -m bench.peers.install``: install what the peers need, from public packages; what fails is only skipped.

nchan is Debian's own module for nginx and needs root; resumable-stream and its Redis client come by ``npm ci`` from a
lock with exact versions and hashes; LiteLLM gets a virtual environment of its own, for it pins what we use otherwise.
All are looked for first, so that a second run does nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers.nchan_config import MODULE

SERVER = Path(__file__).parent / "resumable-stream"
PINNED = Path(__file__).parent / "litellm-proxy" / "requirements.lock"
LITELLM = PINNED.parent / ".venv"
LIMIT_S = 900


def nchan_missing() -> str | None:
    """Why nchan can't run here; ``None`` = it can."""
    if shutil.which("nginx") is None or not MODULE.exists():
        return "needs nginx and libnginx-mod-nchan"
    return None


def resumable_stream_missing() -> str | None:
    """Why resumable-stream can't run here; ``None`` = it can."""
    if shutil.which("node") is None:
        return "needs Node.js"
    wanted: dict[str, str] = json.loads((SERVER / "package.json").read_text())["dependencies"]
    if any(_installed(name) != version for name, version in wanted.items()):
        return "needs npm ci in bench/peers/resumable-stream"
    return None


def litellm_missing() -> str | None:
    """Why LiteLLM can't run here; ``None`` = it can."""
    wanted = re.search(r"^litellm==(\S+)", PINNED.read_text(), re.MULTILINE)
    assert wanted is not None
    if not any(LITELLM.glob(f"lib/python3.*/site-packages/litellm-{wanted[1]}.dist-info")):
        return "needs its own virtual environment, bench/peers/litellm-proxy/.venv"
    return None


def _installed(package: str) -> str | None:
    """The version that stands in node_modules."""
    path = SERVER / "node_modules" / package / "package.json"
    return json.loads(path.read_text())["version"] if path.exists() else None


def install_nchan() -> None:
    """By apt, where we may. Raises ``OSError``, ``subprocess.SubprocessError``."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise OSError("apt-get and root are needed")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    packages = ["nginx-light", "libnginx-mod-nchan"] if shutil.which("nginx") is None else ["libnginx-mod-nchan"]
    _run(["apt-get", "update", "-qq"], env=env)
    _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], env=env)


def install_resumable_stream() -> None:
    """By npm, from the lock. Raises ``OSError``, ``subprocess.SubprocessError``."""
    _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=SERVER)


def install_litellm() -> None:
    """By pip, exactly what is pinned. Raises ``OSError``, ``subprocess.SubprocessError``."""
    _run([sys.executable, "-m", "venv", str(LITELLM)])
    pip = [str(LITELLM / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
    _run([*pip, "install", "--no-deps", "-r", str(PINNED)])


def _run(command: list[str], *, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    subprocess.run(command, env=env, cwd=cwd, check=True, timeout=LIMIT_S, stdout=subprocess.DEVNULL)


def main() -> None:
    """Install what is missing; say what will be skipped. Never fails: a peer that is missing is a line in the table."""
    for name, missing, install in (
        ("nchan", nchan_missing, install_nchan),
        ("resumable-stream", resumable_stream_missing, install_resumable_stream),
        ("litellm", litellm_missing, install_litellm),
    ):
        if missing() is None:
            continue
        print(f"Installing {name} (once) ...")
        try:
            install()
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{name} will be skipped: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
