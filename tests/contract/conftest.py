"""Where the suite's service is: ``REJOINDER_CONTRACT_URL`` (and ``_KEY``), else one of our own on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from rejoinder.ports import free_port
from tests.support.waiting import START_S, poll_until


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    """The address of the service under test."""
    given = os.environ.get("REJOINDER_CONTRACT_URL")  # noqa: TID251 - the suite's own setting
    if given:
        yield given.rstrip("/")
        return
    port = free_port()
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "rejoinder", "dev", "--port", str(port)],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        poll_until(lambda: _is_ready(url) or process.poll() is not None, START_S)
        assert process.poll() is None, f"rejoinder dev has ended with {process.returncode}"
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture
def http(base_url: str) -> Iterator[httpx2.Client]:
    """A client of that service."""
    key = os.environ.get("REJOINDER_CONTRACT_KEY")  # noqa: TID251 - the suite's own setting
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(base_url=base_url, headers=headers, timeout=20) as client:
        yield client
