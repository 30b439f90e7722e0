"""``python -m bench.quote``: write what was measured into the documents; ``--check`` only compares.

What stands between ``<!-- measured: NAME -->`` and ``<!-- /measured: NAME -->`` is the table ``bench/results/NAME.md``,
or what the function of that name below computes from ``bench/results/curves.json``. No figure is typed by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench import highlights
from bench.capacity import Load, Plan, plan, size, table
from bench.curves.report import TITLES
from bench.curves.report import table as curve_table
from bench.units import CURVES, predictions, units

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
_BLOCK = re.compile(r"(<!-- measured: ([a-z0-9-]+) -->\n).*?(<!-- /measured: \2 -->)", re.DOTALL)

THOUSAND = Load(generations=1000, viewers=1.2, tokens_per_s=50)
MILLION = (
    ("every viewer has an answer of their own", Load(generations=1_000_000, viewers=1)),
    ("the same, tokens joined for 100 ms", Load(generations=1_000_000, viewers=1, tokens_per_event=5)),
    ("100 viewers an answer", Load(generations=10_000, viewers=100)),
    ("all of them watch one answer", Load(generations=1, viewers=1_000_000)),
)
_UNITS = {
    "node_busy_cores": ("node: being busy at all", "cores"),
    "worker_busy_cores": ("worker: being busy at all", "cores"),
    "redis_busy_cores": ("Redis: being busy at all", "cores"),
    "node_us_per_event": ("node: an event heard, checked and encoded, once for all viewers", "µs"),
    "node_us_per_delivery": ("node: the event written to one viewer", "µs"),
    "worker_us_per_event": ("worker: an event appended", "µs"),
    "redis_us_per_event": ("Redis: an event appended, published and sent to one node", "µs"),
    "redis_us_per_extra_node": ("Redis: the same sent to one node more", "µs"),
    "node_bytes": ("node: a process", "bytes"),
    "node_bytes_per_viewer": ("node: an open stream", "bytes"),
    "worker_bytes": ("worker: a process", "bytes"),
    "worker_bytes_per_generation": ("worker: an answer in flight", "bytes"),
    "redis_bytes_per_stream": ("Redis: an answer, without its tokens", "bytes"),
    "redis_bytes_per_event": ("Redis: an event", "bytes"),
    "wire_bytes_per_event": ("wire: an event sent to a viewer", "bytes"),
    "node_redis_connections": ("node: connections to Redis", ""),
    "worker_redis_connections": ("worker: connections to Redis", ""),
}


@cache
def curves() -> Mapping[str, Any]:
    """The last run of the curves."""
    return json.loads(CURVES.read_text())


def unit_costs() -> str:
    """What one of everything costs."""
    costs = units(curves())
    rows = [(text, _number(getattr(costs, name), unit)) for name, (text, unit) in _UNITS.items()]
    return _table(["what", "cost"], rows)


def capacity() -> str:
    """A thousand generations."""
    return table(THOUSAND, plan(THOUSAND, units(curves())))


def prediction() -> str:
    """The model beside points that it was not fitted to, of the last run that was kept."""
    return predicted(curves())


def predicted(document: Mapping[str, Any]) -> str:
    """The same, of any run. Raises :class:`bench.units.NotMeasured`."""
    rows = [
        [
            f"{row['streams']:,} × {row['viewers']:,} × {row['rate']:g}/s",
            part.replace("_", ", "),
            _amount(part, expected),
            _amount(part, measured),
            f"{(expected / measured - 1) * 100:+.0f} %",
        ]
        for row, part, expected, measured in predictions(document)
    ]
    return _table(["load", "what", "predicted", "measured", "off by"], rows)


def million() -> str:
    """A million viewers, in four shapes."""
    costs = units(curves())
    rows = [(name, load, plan(load, costs)) for name, load in MILLION]
    head = ["shape", "events/s", "nodes", "workers", "Redis, cores", "Redis, memory", "to viewers", "full first"]
    return _table(head, [_shape(*row) for row in rows])


def _shape(name: str, load: Load, planned: Plan) -> list[str]:
    nearest = planned.ceilings[0]
    below = nearest.factor < 1
    share = f"at {nearest.factor * 100:.2g} % of the load" if below else f"at {nearest.factor:,.0f} × the load"
    return [
        name,
        f"{load.events_per_s:,.0f}",
        f"{planned.nodes.processes:,}",
        f"{planned.workers.processes:,}",
        f"{planned.redis.cores:,.2f}",
        size(planned.redis.bytes),
        f"{planned.network * 8 / 1e9:,.1f} Gbit/s",
        f"Redis: {nearest.name}, {share}",
    ]


def _amount(part: str, value: float) -> str:
    return size(value) if part.endswith("bytes") else f"{value:.3f}"


def _number(value: float, unit: str) -> str:
    if unit == "cores":
        return f"{value:.3f} {unit}"
    return f"{value:,.1f} {unit}" if unit == "µs" else f"{value:,.0f} {unit}".strip()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _core() -> Mapping[str, Any]:
    return json.loads((RESULTS / "core.json").read_text())


def best_of() -> str:
    """What the README shows."""
    return _table(["", *highlights.SYSTEMS], highlights.highlights(_core()))


def misses() -> str:
    """Goals that were not met."""
    return _table(["metric", "goal", "ours", "over it", "a loop in C"], highlights.missed(_core()))


def chat() -> str:
    """What a token costs as OpenAI's chat completions."""
    return _table(["", *highlights.CHAT_SYSTEMS.values()], highlights.chat(_core()))


def chat_short() -> str:
    """The same for the README."""
    return _table(["", *highlights.CHAT_SYSTEMS.values()], highlights.chat(_core(), highlights.CHAT_SHORT))


BLOCKS: dict[str, Callable[[], str]] = {
    "highlights": best_of,
    "missed": misses,
    "chat": chat,
    "chat-short": chat_short,
    "unit-costs": unit_costs,
    "capacity": capacity,
    "prediction": prediction,
    "million": million,
    **{f"curve-{name}": lambda name=name: curve_table(curves(), name) for name in TITLES},
}


def quoted(name: str) -> str:
    """What stands in the block of this name."""
    try:
        return BLOCKS[name]() if name in BLOCKS else (RESULTS / f"{name}.md").read_text()
    except FileNotFoundError:
        return "Not measured yet.\n"


def updated(text: str) -> str:
    """The text with every block as it was measured last."""
    return _BLOCK.sub(lambda block: f"{block[1]}{quoted(block[2])}{block[3]}", text)


def main(arguments: Sequence[str]) -> int:
    """Write, or with ``--check`` only compare; 1 = something is stale."""
    check = "--check" in arguments
    stale = False
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text()
        fresh = updated(text)
        if fresh != text:
            stale = check
            print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}")
            if not check:
                path.write_text(fresh)
    return int(stale)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
