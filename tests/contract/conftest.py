"""Where the suite's service is: ``REJOINDER_CONTRACT_URL`` (and ``_KEY``), else one of our own on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from rejoinder.ports import free_port

START_S = 20


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
        _wait_ready(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx2.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.05)
    raise AssertionError(f"the service did not become ready within {START_S} s")


@pytest.fixture
def http(base_url: str) -> Iterator[httpx2.Client]:
    """A client of that service."""
    key = os.environ.get("REJOINDER_CONTRACT_KEY")  # noqa: TID251 - the suite's own setting
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(base_url=base_url, headers=headers, timeout=20) as client:
        yield client
