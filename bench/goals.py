"""The goals of design.md section 5, one per metric, and whether a value meets its goal: pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """What a metric is called in the table, and what it should be."""

    title: str
    unit: str
    bound: float | None = None
    """``None``: shown without a goal."""
    at_least: bool = False
    """The bound is a least, not a most."""
    total: bool = False
    """All rounds together count, not their median."""

    def text(self) -> str:
        """For the table."""
        if self.bound is None:
            return "-"
        return f"{'≥' if self.at_least else '≤'} {self.bound:,g}"

    def met(self, value: float) -> bool | None:
        """Whether a value is good enough; ``None`` without a goal."""
        if self.bound is None:
            return None
        return value >= self.bound if self.at_least else value <= self.bound


FAULTS = "faults.count"
"""The metric of events lost, doubled or reordered."""

GOALS: dict[str, Goal] = {
    "w1_20k.p50_ms": Goal("W1 20k tokens/s: p50", "ms", 0.20),
    "w1_20k.p99_ms": Goal("W1 20k tokens/s: p99", "ms", 0.60),
    "w1_20k.p999_ms": Goal("W1 20k tokens/s: p99.9", "ms"),
    "w1_20k.node_us": Goal("W1 20k tokens/s: node CPU per event", "µs", 11),
    "w1_20k.core_share": Goal("W1 20k tokens/s: node's share of its core", ""),
    "w1_20k.redis_us": Goal("Redis CPU per token, append + deliver", "µs", 12),
    "w1_20k.redis_connections": Goal("Redis connections per node and master", "", 3),
    "w1_60k.core_share": Goal("W1 60k tokens/s on one node core: share of it", "", 0.6),
    "w1_60k.p99_ms": Goal("W1 60k tokens/s on one node core: p99", "ms", 10),
    "w1_20k.other_core": Goal("W1 20k tokens/s: share of the other core (Redis, producer, viewers)", ""),
    "w1_60k.other_core": Goal("W1 60k tokens/s: share of the other core (Redis, producer, viewers)", ""),
    "w1_60k.p50_ms": Goal("W1 60k tokens/s on one node core: p50", "ms"),
    "w1_60k.p999_ms": Goal("W1 60k tokens/s on one node core: p99.9", "ms"),
    "w1_60k.redis_us": Goal("W1 60k tokens/s: Redis CPU per token", "µs"),
    "w1_60k.redis_connections": Goal("W1 60k tokens/s: Redis connections", ""),
    "w1_60k.node_us": Goal("W1 60k tokens/s: node CPU per event", "µs"),
    "w2.max_per_s": Goal("W2 1000 viewers: most events/s that all keep up with", "1/s", 200_000, at_least=True),
    "w2.node_us": Goal("W2 1000 viewers x 200/s: node CPU per event", "µs"),
    "w2.vs_floor": Goal("W2 1000 viewers x 200/s: node CPU against a C epoll loop", "x", 1.25),
    "w2.p50_ms": Goal("W2 1000 viewers x 200/s: p50", "ms"),
    "w2.p99_ms": Goal("W2 1000 viewers x 200/s: p99", "ms"),
    "w2.core_share": Goal("W2 1000 viewers x 200/s: node's share of its core", ""),
    "idle.kb": Goal("Memory per idle connection", "kB", 12),
    "log.bytes_per_token": Goal("Redis bytes per token", "B", 24),
    "replay.cold_ms": Goal("Replay of a 10k-token stream, first read", "ms", 12),
    "replay.warm_ms": Goal("Replay of a 10k-token stream, read before", "ms", 2),
    "rejoin_one.s": Goal("1000 viewers rejoin one stream, 1000 tokens behind", "s", 0.25),
    "rejoin_many.s": Goal("1000 viewers rejoin 1000 streams, 250 behind each", "s", 0.30),
    "rejoin_one.p50_ms": Goal("1000 viewers rejoin one stream: p50 of a viewer", "ms"),
    "rejoin_one.p99_ms": Goal("1000 viewers rejoin one stream: p99 of a viewer", "ms"),
    "rejoin_one.peak_kb": Goal("1000 viewers rejoin one stream: node's peak memory per viewer", "kB"),
    "rejoin_many.p50_ms": Goal("1000 viewers rejoin 1000 streams: p50 of a viewer", "ms"),
    "rejoin_many.p99_ms": Goal("1000 viewers rejoin 1000 streams: p99 of a viewer", "ms"),
    "rejoin_many.peak_kb": Goal("1000 viewers rejoin 1000 streams: node's peak memory per viewer", "kB"),
    "start.p50_ms": Goal("Submit → start: p50", "ms", 2.5),
    "start.p99_ms": Goal("Submit → start: p99", "ms", 12),
    "append.worker_us": Goal("Worker CPU per appended token at 20k tokens/s", "µs", 6),
    "append.plain_us": Goal("Worker CPU per appended token at 20k tokens/s, plain redis-py", "µs", 12),
    "append.redis_us": Goal("Redis CPU per appended token, nobody watching", "µs"),
    "append.plain_redis_us": Goal("Redis CPU per appended token, nobody watching, plain redis-py", "µs"),
    "ttft.added_p50_ms": Goal("Added time to the first token over asking the provider directly: p50", "ms", 5),
    "ttft.added_p99_ms": Goal("Added time to the first token over asking the provider directly: p99", "ms"),
    "ttft.p50_ms": Goal("Time to the first token: p50", "ms"),
    "ttft.p99_ms": Goal("Time to the first token: p99", "ms"),
    "ttft.way_in_ms": Goal("Time to the first token: request → provider's saying it: p50", "ms"),
    "ttft.way_out_ms": Goal("Time to the first token: provider's saying it → seen: p50", "ms"),
    "ttft.worker_cpu_ms": Goal("Worker CPU per generation of 4 tokens", "ms"),
    "ttft.api_cpu_ms": Goal("Node CPU per generation of 4 tokens", "ms"),
    "sdk.openai_us": Goal("A token from OpenAI, in a packet of its own: CPU (naive: the SDK's typed stream)", "µs"),
    "sdk.anthropic_us": Goal("A token from Anthropic, the same: CPU (naive: the SDK's typed stream)", "µs"),
    "sdk.worker_us": Goal("A token from OpenAI, the same: the whole worker's CPU", "µs"),
    "chat.token_us": Goal("20 x 50 tokens/s as openai.chat: CPU per token, all processes", "µs", 40),
    "chat.node_us": Goal("20 x 50 tokens/s as openai.chat: node CPU per token", "µs"),
    "chat.worker_us": Goal("20 x 50 tokens/s as openai.chat: worker CPU per token", "µs"),
    "chat.redis_us": Goal("20 x 50 tokens/s as openai.chat: Redis CPU per token", "µs"),
    "chat.core_share": Goal("20 x 50 tokens/s as openai.chat: share of the servers' core", ""),
    "chat.chunks_per_token": Goal("20 x 50 tokens/s as openai.chat: chunks per token", ""),
    "chat.p50_ms": Goal("20 x 50 tokens/s as openai.chat: provider → client: p50", "ms"),
    "chat.p99_ms": Goal("20 x 50 tokens/s as openai.chat: provider → client: p99", "ms"),
    "chat.added_p50_ms": Goal("20 x 50 tokens/s as openai.chat: added to the provider's own: p50", "ms"),
    "chat.added_p99_ms": Goal("20 x 50 tokens/s as openai.chat: added to the provider's own: p99", "ms"),
    "chat.replay_cold_ms": Goal("Replay of 10k tokens as openai.chat, first read", "ms"),
    "chat.replay_warm_ms": Goal("Replay of 10k tokens as openai.chat, read before", "ms"),
    "chat.responses_replay_cold_ms": Goal("Replay of 10k tokens as openai.responses (exact), first read", "ms"),
    "chat.responses_replay_warm_ms": Goal("Replay of 10k tokens as openai.responses (exact), read before", "ms"),
    "queue_load.running_ms": Goal("1000 generations on one worker: last submit → all running", "ms"),
    "queue_load.start_cpu_ms": Goal("1000 generations on one worker: its CPU per start", "ms"),
    "queue_load.token_us": Goal("1000 x 20 tokens/s from an HTTP provider: worker CPU per token, ends included", "µs"),
    "queue_load.worker_share": Goal("1000 x 20 tokens/s from an HTTP provider: worker's share of its core", ""),
    "queue_load.behind_ms": Goal("1000 x 20 tokens/s from an HTTP provider: last token due → all ended", "ms"),
    "queue_load.worker_mb": Goal("1000 generations on one worker: its memory", "MiB"),
    "queue_load.drain_per_s": Goal("5000 queued, two workers on one core: generations/s", "1/s"),
    "queue_load.drain_cpu_ms": Goal("5000 queued, 5 tokens each: worker CPU per generation", "ms"),
    "queue_load.least_share": Goal("5000 queued, two workers: share of the one that did less", "", 0.4, at_least=True),
    "queue_load.displaced_p50": Goal("5000 queued: places from the queue's order: p50", ""),
    "queue_load.displaced_p99": Goal("5000 queued: places from the queue's order: p99", ""),
    "queue_load.displaced_max": Goal("5000 queued: places from the queue's order: worst", ""),
    "queue_load.idle_worker_share": Goal("An idle worker's share of a core", ""),
    "queue_load.idle_node_share": Goal("An idle node's share of a core", ""),
    "queue_load.idle_commands_per_s": Goal("Redis commands of one idle worker and one idle node", "1/s"),
    "cancel.p99_ms": Goal("Cancel → provider's socket closed: p99", "ms", 100),
    "start.max_ms": Goal("Submit → start: worst", "ms"),
    "cancel.p50_ms": Goal("Cancel → provider's socket closed: p50", "ms"),
    "cancel.max_ms": Goal("Cancel → provider's socket closed: worst", "ms"),
    "takeover.p50_ms": Goal("Kill -9 → another worker's start, lease 3 s: p50", "ms"),
    "takeover.max_ms": Goal("Kill -9 → another worker's start, lease 3 s: worst", "ms", 3500),
    "kill.p50_ms": Goal("Kill -9 with 20 generations, lease 2 s → successor's start: p50", "ms"),
    "kill.p99_ms": Goal("Kill -9 with 20 generations, lease 2 s → successor's start: p99", "ms", 2500),
    "hand_over.p50_ms": Goal("SIGTERM without drain → successor's start: p50", "ms"),
    "hand_over.p99_ms": Goal("SIGTERM without drain → successor's start: p99", "ms", 1000),
    "zombie.p50_ms": Goal("A paused worker wakes → its provider's socket closed: p50", "ms"),
    "zombie.p99_ms": Goal("A paused worker wakes → its provider's socket closed: p99", "ms", 1000),
    "stuck.kib": Goal("A node's memory for a reader that stopped, of 100,000 events", "KiB", 1024),
    FAULTS: Goal("Events lost, doubled or reordered, viewers cut, in all runs", "", 0, total=True),
}
