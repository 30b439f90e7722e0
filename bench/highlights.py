"""Short tables out of the last run of the core table: what the README shows, and which goals were missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.goals import FAULTS, GOALS
from bench.report import figure

SHOWN = (
    "w1_20k.p50_ms",
    "w1_20k.node_us",
    "w2.max_per_s",
    "idle.kb",
    "log.bytes_per_token",
    "replay.cold_ms",
    "rejoin_one.s",
    "start.p50_ms",
    "append.worker_us",
    "cancel.p99_ms",
    "takeover.max_ms",
    FAULTS,
)
CHAT = (
    "chat.token_us",
    "chat.node_us",
    "chat.worker_us",
    "chat.redis_us",
    "chat.core_share",
    "chat.chunks_per_token",
    "chat.added_p50_ms",
    "chat.added_p99_ms",
    "chat.p50_ms",
    "chat.p99_ms",
    "chat.replay_cold_ms",
    "chat.replay_warm_ms",
    "chat.responses_replay_cold_ms",
    "chat.responses_replay_warm_ms",
)
CHAT_SHORT = ("chat.token_us", "chat.added_p50_ms", "chat.added_p99_ms")
CHAT_SYSTEMS = {
    "direct": "the provider itself",
    "ours": "ours, each token by itself",
    "ours-default": "ours, joined for 20 ms",
    "litellm": "LiteLLM's proxy",
}
SYSTEMS = ("naive", "nchan", "ours")
_FLOOR = "floor"

Values = Mapping[tuple[str, str], float]


def values(document: Mapping[str, Any]) -> Values:
    """(metric, system) -> the median of its rounds, where there is one."""
    return {(row["metric"], row["system"]): row["median"] for row in document["summary"] if row["median"] is not None}


def highlights(document: Mapping[str, Any]) -> list[list[str]]:
    """Rows of metric, naive, nchan, ours."""
    known = values(document)
    return [
        [_title(metric), *(_shown(known.get((metric, system))) for system in SYSTEMS)]
        for metric in SHOWN
        if (metric, "ours") in known
    ]


def chat(document: Mapping[str, Any], metrics: Sequence[str] = CHAT) -> list[list[str]]:
    """Rows of metric and each way from a client of chat completions to its provider."""
    known = values(document)
    return [
        [
            _title(metric).rpartition("openai.chat: ")[2],
            *(_shown(known.get((metric, system))) for system in CHAT_SYSTEMS),
        ]
        for metric in metrics
        if (metric, "ours") in known
    ]


def missed(document: Mapping[str, Any]) -> list[list[str]]:
    """Rows of metric, goal, ours, how many times the goal, and what a loop in C took that keeps nothing."""
    known = values(document)
    rows: list[list[str]] = []
    for metric, goal in GOALS.items():
        value = known.get((metric, "ours"))
        if value is None or goal.bound is None or goal.met(value) is not False:
            continue
        worse = goal.bound / value if goal.at_least else value / goal.bound
        rows.append(
            [
                _title(metric),
                goal.text(),
                _shown(value),
                f"{figure(worse) if worse >= 10 else format(worse, '.2g')}x",
                _shown(known.get((metric, _FLOOR))),
            ]
        )
    return rows


def _title(metric: str) -> str:
    goal = GOALS[metric]
    return f"{goal.title}, {goal.unit}" if goal.unit else goal.title


def _shown(value: float | None) -> str:
    return "" if value is None else figure(value)
