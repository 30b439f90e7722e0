"""A fleet under every fault at once: nobody misses, doubles or mixes anything, and everything ends.

``SEED=`` replays a run's generations and faults, ``MINUTES=`` makes it longer; the verdict is printed, and written to
``build/chaos.json`` beside the processes' output.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

import pytest

from tests.chaos.audit import Findings, audit
from tests.chaos.fleet import Fleet
from tests.chaos.load import Load
from tests.chaos.nemesis import Nemesis
from tests.support.verdict import Verdict

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(0)]

BUILD = Path(__file__).parent.parent.parent / "build"
MINUTES = float(os.environ.get("MINUTES", "4"))  # noqa: TID251 - the suite's own switch
CONCURRENCY = 18
REQUIRED = {"generations": 500, "reconnects": 5000, "process kills": 40, "redis outages": 10}
"""For a run of four minutes; each kind of fault must have come, too."""


async def test_chaos(capsys: pytest.CaptureFixture[str]) -> None:
    """The verdict says what was done, and that nothing was lost."""
    seed = int(os.environ.get("SEED") or secrets.randbelow(10**6))  # noqa: TID251 - the suite's own switch
    BUILD.mkdir(exist_ok=True)
    async with Fleet(BUILD / "chaos.log") as fleet:
        load = Load(fleet, seed)
        nemesis = Nemesis(fleet, load, seed)
        loading = asyncio.ensure_future(load.run(CONCURRENCY))
        await nemesis.run(MINUTES * 60)
        load.done.set()
        await fleet.ready()
        load.calm_since = asyncio.get_running_loop().time()
        await loading
        findings = await audit(fleet, load, nemesis)
    verdict = _verdict(seed, load, nemesis, findings)
    verdict.write(BUILD / "chaos.json")
    (BUILD / "chaos.journal").write_text("\n".join([*nemesis.journal, ""]))
    with capsys.disabled():
        print(f"\n{verdict.render()}")  # noqa: T201 - the verdict is what people run this for
    assert verdict.ok, f"replay with: make chaos SEED={seed}"


def _verdict(seed: int, load: Load, nemesis: Nemesis, findings: Findings) -> Verdict:
    share = MINUTES / 4
    kinds = [kind for lane in nemesis.kinds() for kind in lane]
    return Verdict(
        "chaos",
        seed,
        counts={
            **dict(sorted(load.counts.items())),
            "process kills": nemesis.counts["process kills"],
            "redis outages": nemesis.counts["redis outages"],
            "byte offsets cut at": len(load.swept),
            **dict(findings.endings.most_common()),
        },
        required={
            **{name: int(least * min(share, 1)) for name, least in REQUIRED.items()},
            # Failing everything in good order would be no anomaly, and no service either.
            "completed": findings.endings.total() // 2,
            **(dict.fromkeys([*kinds, "FLUSHALL"], 1) if share >= 1 else {}),
        },
        faults=dict(sorted(nemesis.counts.items())),
        anomalies=findings.anomalies,
        leaks=findings.leaks,
    )
