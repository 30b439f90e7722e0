"""LiteLLM's proxy, as its documentation starts it: one worker process, one OpenAI-compatible model, no database."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.child import start
from bench.peers.install import LITELLM
from bench.peers.until_says import until_says
from rejoinder.ports import LOOPBACK, free_port

START_S = 120.0
MODEL = "m"


@dataclass(frozen=True, slots=True)
class LiteLLM:
    """One that runs."""

    port: int
    key: str
    pids: Mapping[str, int]


def config(upstream: str) -> str:
    """The whole configuration, as JSON, which is YAML too."""
    told = {"model": f"openai/{MODEL}", "api_base": upstream, "api_key": "none"}
    return json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": told}]})


def environment(key: str) -> dict[str, str]:
    """A key is what it will not start without; the price list is its own copy, so that nothing is fetched."""
    return {**os.environ, "LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in tree(int(child)))]


@asynccontextmanager
async def litellm(upstream: str) -> AsyncGenerator[LiteLLM]:
    """Inside, it serves on the servers' core. Raises :class:`~bench.child.ChildFailed`."""
    port, key = free_port(), f"sk-{secrets.token_hex(24)}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(config(upstream))
        command = (str(LITELLM / "bin" / "litellm"), "--config", str(path), "--host", LOOPBACK, "--port", str(port))
        async with start("litellm", (*command, "--num_workers", "1"), env=environment(key), serves=True) as child:
            await until_says(port, "/health/liveliness", b"alive", START_S)
            yield LiteLLM(port, key, {f"litellm {n}": pid for n, pid in enumerate(tree(child.pid))})
