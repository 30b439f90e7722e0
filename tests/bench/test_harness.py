"""The pure parts of the harness: schedules, summaries, reports, what /proc and Redis say."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.goals import FAULTS, GOALS, Goal
from bench.load_generator import FAULTS as LOAD_FAULTS
from bench.load_generator import Unsound, encode_requests
from bench.machine import cpu_ns, parse_cpu_model, parse_pss_kib, parse_server_version, parse_status_kib
from bench.measure import Phase, Row
from bench.naive.system import NaivePublisher
from bench.ours_publisher import template
from bench.plots import cumulative, shares_of_goal
from bench.producer import Producer, Schedule
from bench.redis_meter import OWN_NAME, PRODUCER_NAME, others
from bench.registry import SCENARIOS, SYSTEMS, Scenario, default_systems
from bench.report import markdown, write
from bench.runner import once
from bench.scale import SMOKE, Scale
from bench.smoke import missing, not_written
from bench.stats import percentile
from bench.summary import summarise
from bench.systems import Stream, System, Viewer

MACHINE: dict[str, Any] = {
    "cpu": "c",
    "cores": 2,
    "kernel": "k",
    "redis": "r",
    "python": "p",
    "libraries": {"redis": "5"},
}


@given(
    streams=st.integers(1, 50),
    count=st.integers(1, 20),
    rate=st.floats(0.5, 500),
    times=st.lists(st.floats(0, 30), max_size=20),
)
def test_every_token_is_due_once_and_never_early(streams: int, count: int, rate: float, times: list[float]) -> None:
    """Whenever the producer wakes: in order, no sooner than due, and all of them in the end."""
    schedule = Schedule(streams, count, rate)
    taken: list[int] = []
    for elapsed in [*sorted(times), 1e9]:
        now = schedule.take(elapsed)
        taken += now
        assert all(schedule.due_s(index) <= elapsed + 1e-6 for index in now)
    assert taken == list(range(streams * count))
    assert schedule.finished


class Book:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int, bytes]] = []

    async def open(self) -> None:
        """Nothing to connect to."""

    def publish(self, stream: int, number: int, text: bytes) -> None:
        """Keep it."""
        self.said.append((stream, number, text))

    def flush(self) -> None:
        """Nothing to send."""

    async def settle(self) -> None:
        """Nothing to wait for."""

    async def close(self) -> None:
        """Nothing to end."""


@pytest.mark.parametrize("rate", [0.0, 1000.0])
async def test_the_producer_numbers_each_stream_from_run_to_run(rate: float) -> None:
    """Each token once per stream and in order, at a rate or flat out; the report counts them."""
    book = Book()
    producer = Producer(book, 3)
    reports = [await producer.run(2, rate, []), await producer.run(3, rate, [])]
    for stream in range(3):
        assert [number for at, number, _ in book.said if at == stream] == [1, 2, 3, 4, 5]
    assert all(text.startswith(b"#%d@" % number) and text.endswith(b"@") for _, number, text in book.said)
    assert [report["tokens"] for report in reports] == [6, 9]


def test_an_append_is_filled_in_as_the_product_would_send_it() -> None:
    """Two fillings of the template differ in the number and the text alone, each with its length."""
    fill = template(Stream("gen_1", {"owner": "o", "epoch": 7}))
    short, long = fill(5, b"ab"), fill(1000, b"abc")
    assert b"$1\r\n5\r\n" in short
    assert b"$2\r\nab\r\n" in short
    assert short.replace(b"$1\r\n5\r\n", b"").replace(b"$2\r\nab\r\n", b"") == long.replace(
        b"$4\r\n1000\r\n", b""
    ).replace(b"$3\r\nabc\r\n", b"")


def test_a_naive_entry_is_one_xadd() -> None:
    """Packed by hand, it is still what Redis reads."""
    publisher = NaivePublisher("redis://127.0.0.1:1/0", [Stream("s")])
    publisher.publish(0, 1, b"#1@2@")
    words = publisher.waiting[0].split(b"\r\n")
    assert words[:3] == [b"*5", b"$4", b"XADD"]
    assert [int(size[1:]) for size in words[1:-1:2]] == [len(word) for word in words[2::2]]
    assert json.loads(words[-2]) == {"type": "text.delta", "text": "#1@2@"}


def test_requests_are_framed_for_the_load_generator() -> None:
    """A line of numbers, then exactly as many bytes as it says."""
    encoded = encode_requests([Viewer("/a", {"X": "y"}, next=3, seq=4), Viewer("/b")], ids=True, target=9)
    line, _, rest = encoded.partition(b"\n")
    assert line.split()[:4] == [b"3", b"4", b"1", b"9"]
    first = rest[: int(line.split()[4])]
    assert first.startswith(b"GET /a HTTP/1.1\r\n")
    assert first.endswith(b"X: y\r\n\r\n")
    assert rest[len(first) :].startswith(b"1 0 1 9 ")


def test_what_the_system_says_is_read() -> None:
    """Memory by share, the processor's name, CPU time, connections that are not ours."""
    assert parse_pss_kib("00-ff ---p 0 00:00 0 [rollup]\nRss:  900 kB\nPss:  123 kB\nPss_Dirty: 5 kB\n") == 123
    with pytest.raises(ValueError, match="Pss"):
        parse_pss_kib("Rss: 1 kB\n")
    assert parse_status_kib("VmPeak: 9 kB\nVmHWM:\t  77 kB\n", "VmHWM") == 77
    with pytest.raises(ValueError, match="VmHWM"):
        parse_status_kib("VmPeak: 9 kB\n", "VmHWM")
    assert parse_cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n") == "Some CPU @ 3 GHz"
    assert parse_cpu_model("") == "unknown"
    assert parse_server_version("Valkey server v=9.1.2 sha=0:0 bits=64") == "Valkey 9.1.2"
    assert parse_server_version("Redis server v=7.2.4 sha=0:0") == "Redis 7.2.4"
    assert cpu_ns(os.getpid()) > 0
    assert others([{"name": OWN_NAME}, {"name": PRODUCER_NAME}, {"name": ""}, {}]) == 2


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0), (1.0, 100.0)])
def test_percentiles_are_values_that_were_seen(share: float, expected: float) -> None:
    """Nearest rank, whatever the order."""
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_goals_are_met_from_their_own_side() -> None:
    """At most, at least, or none."""
    assert Goal("t", "ms", 2).met(2) is True
    assert Goal("t", "ms", 2).met(2.1) is False
    assert Goal("t", "1/s", 2, at_least=True).met(1.9) is False
    assert Goal("t", "").met(5) is None


def rounds(metric: str, system: str, *values: float | None, note: str = "") -> list[Row]:
    """One row per round."""
    return [Row(metric, system, value, note) for value in values]


def test_rounds_become_medians_and_faults_a_sum() -> None:
    """A round without a value does not count; the floor's ratio is made round by round."""
    rows = [
        *rounds("w2.node_us", "ours", 4.0, 6.0, 5.0),
        *rounds("w2.node_us", "floor", 4.0, 4.0, 2.5),
        *rounds(FAULTS, "ours", 0.0, 2.0, 0.0),
        *rounds("w1_20k.run", "naive", None, note="void"),
    ]
    found = summarise(rows)
    assert (found["w2.node_us", "ours"].median, found["w2.node_us", "ours"].low) == (5.0, 4.0)
    assert found["w2.vs_floor", "ours"].median == 1.5
    assert found[FAULTS, "ours"].median == 2.0
    assert found["w1_20k.run", "naive"].median is None


def test_the_table_says_met_missed_and_why_not() -> None:
    """Each row with its goal, ours by the median, and the reason where there is no figure."""
    rows = [
        *rounds("w1_20k.p50_ms", "naive", 40.0),
        *rounds("w1_20k.p50_ms", "ours", 0.1, 0.2, 0.4),
        *rounds("idle.kb", "ours", 13.0, note="why"),
        *rounds("w2.max_per_s", "naive", 100_000.0),
        *rounds("w2.max_per_s", "ours", 250_000.0),
        *rounds("replay.cold_ms", "nchan", None, note="not possible: x"),
    ]
    text = markdown(rows, MACHINE)
    assert "| W1 20k tokens/s: p50, ms | ≤ 0.2 | 40 | 0.2 (0.1 … 0.4) |  | 200x | met |" in text
    assert "| ≥ 200,000 | 100,000 | 250,000 |  | 2.5x | met |" in text
    assert "| ≤ 12 |  | 13 * |  |  | **missed** |" in text
    assert "not possible: x" in text
    assert "\\* idle, ours: why" in text


def test_results_are_written_with_every_round(tmp_path: Path) -> None:
    """Markdown for people, JSON for later runs."""
    rows = rounds("w1_20k.p50_ms", "ours", 0.1, 0.3)
    write(rows, MACHINE, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "core.json").read_text())
    assert [one["value"] for one in kept["rounds"]] == [0.1, 0.3]
    assert kept["summary"][0]["median"] == pytest.approx(0.2)
    assert "W1 20k" in (tmp_path / "out" / "core.md").read_text()


def test_pictures_show_shares_of_goals_and_tails() -> None:
    """Twice the goal is 2 whichever side is better; a tail falls from 1."""
    summaries = summarise([*rounds("idle.kb", "ours", 24.0), *rounds("w2.max_per_s", "ours", 100_000.0)])
    assert shares_of_goal(summaries) == {"idle.kb": {"ours": 2.0}, "w2.max_per_s": {"ours": 2.0}}
    assert cumulative([[1e6, 3], [2e6, 1]]) == ([1.0, 2.0], [1.0, 0.25])


def phase(*, late_ns: int = 0, p99_ns: int = 0, redis_ns: int = 0) -> Phase:
    """One second of load."""
    load = {"latency": {"p99": p99_ns}, "cpu_ns": 10**8}
    return Phase(100, 10**9, 0, redis_ns, load, {"late_p99_ns": late_ns, "cpu_ns": 10**8})


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (phase, ""),
        (lambda: phase(late_ns=6_000_000), "the producer was late: p99 6.0 ms"),
        (lambda: phase(p99_ns=600_000_000), "viewers fell behind and read in batches"),
        (lambda: phase(redis_ns=800_000_000), "Redis, producer and viewers had 100% of their core"),
    ],
)
def test_a_figure_says_what_spoils_it(made: Callable[[], Phase], said: str) -> None:
    """A late producer, viewers served a backlog, a full core of the harness's own."""
    assert made().note == said


async def test_a_run_that_fails_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Void with its faults, not possible, or somebody else's failure; ours is raised."""

    @asynccontextmanager
    async def nothing() -> AsyncGenerator[System]:
        yield cast("System", None)

    def fails(error: Exception) -> Scenario:
        async def measure(_system: System, _scale: Scale) -> list[Row]:
            raise error

        return Scenario("w2", measure)

    monkeypatch.setattr("bench.runner.SYSTEMS", {"ours": nothing, "nchan": nothing})
    report: dict[str, Any] = dict.fromkeys(("why", "connections", "reached", "tokens", *LOAD_FAULTS), 0)
    void = await once(fails(Unsound({**report, "gaps": 2, "cut": 1})), "ours", SMOKE)
    assert [(row.metric, row.value, row.note) for row in void] == [
        ("w2.run", None, "void: gaps 2, cut 1"),
        (FAULTS, 3.0, ""),
    ]
    assert [row.note for row in await once(fails(NotImplementedError("x")), "ours", SMOKE)] == ["not possible: x"]
    assert [row.note for row in await once(fails(OSError("y")), "nchan", SMOKE)] == ["failed: OSError: y"]
    with pytest.raises(OSError, match="y"):
        await once(fails(OSError("y")), "ours", SMOKE)


def test_every_scenario_and_system_has_a_name_of_its_own() -> None:
    """What the command line and the table go by; every goal is a metric's."""
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) == len(set(names))
    assert set(default_systems()) <= set(SYSTEMS)
    assert all("." in metric for metric in GOALS)


def test_a_smoke_run_fails_for_what_is_not_there(tmp_path: Path) -> None:
    """A scenario without rows, a run without a figure, a fault, a file that was not written."""
    assert missing({"w2": rounds(FAULTS, "ours", 0.0)}) == []
    wrong = {
        "w2": [*rounds("w2.run", "ours", None, note="void: cut 1"), *rounds(FAULTS, "ours", 3.0)],
        "idle": [],
    }
    assert missing(wrong) == ["w2.run, ours: void: cut 1", "ours: 3 events lost or doubled", "idle brought nothing"]
    write(rounds("idle.kb", "ours", 1.0), MACHINE, tmp_path)
    (tmp_path / "core.md").write_text("")
    assert not_written(tmp_path, pictures=False) == ["core.md"]
    assert "latency.svg" in not_written(tmp_path, pictures=True)
