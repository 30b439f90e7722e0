"""The demo provider: deterministic, scripted, and able to go on inside a word."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from broker.events import (
    DELTA_TYPES,
    ContentEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.merge import delta_text
from tests.providers.contract import (
    ProviderContract,
    Scenario,
    Stage,
    content,
    failure_of,
    items_of,
    make_call,
    text_of,
)
from tests.support.waiting import wait_until
from worker.providers.base import Call, Finish, UsageUpdate
from worker.providers.demo import DemoProvider
from worker.providers.demo_script import after_prefix, parse_options, write_answer

OPTIONS: dict[str, dict[str, Any]] = {
    "text": {},
    "reasoning": {"reasoning": 7},
    "tools": {"tool_call": True, "tokens": 5},
    "length": {},
    "truncated": {"truncate_at": 10},
    "stalls": {"stall_at": 3},
    "rate limited": {"refuse": 1, "retry_after_s": 2.5},
    "overloaded": {"fail_at": 0, "fail_code": "provider_overloaded", "fail_retryable": True},
}


class DemoStage(Stage):
    """Everything is in the options."""

    cannot = frozenset[Scenario]({"no key", "nonsense", "cut"})

    def __init__(self) -> None:
        self.provider = DemoProvider()

    def call(self, scenario: Scenario) -> Call:
        """The scenario's options."""
        limit = 4 if scenario == "length" else None
        return demo(max_output_tokens=limit, **OPTIONS[scenario])


def demo(prefix: list[ContentEvent] | None = None, **fields: Any) -> Call:
    """A call at full speed; keywords that are no fields of a request are options."""
    known = {name: fields.pop(name) for name in ("max_output_tokens", "stop", "input", "tools") if name in fields}
    return make_call("demo-1", prefix, provider_options={"rate": 0, **fields}, **known)


class TestContract(ProviderContract):
    """The demo as a provider."""

    @pytest.fixture
    def stage(self) -> Stage:
        """The demo."""
        return DemoStage()


@pytest.fixture
def provider() -> DemoProvider:
    """A provider of this test."""
    return DemoProvider()


async def test_same_prompt_same_answer(provider: DemoProvider) -> None:
    """The prompt is the seed; another prompt or seed is another answer."""
    first, again, other, seeded = [
        text_of(await items_of(provider, call)) for call in (demo(), demo(), demo(input="another"), demo(seed=7))
    ]
    assert first == again
    assert len({first, other, seeded}) == 3


async def test_counts(provider: DemoProvider) -> None:
    """As many tokens as asked for, reasoning first; they are counted, and so are the prompt's words."""
    items = await items_of(provider, demo(input="one two three", tokens=12, reasoning=5))
    events = content(items)
    assert [type(event) for event in events] == [ReasoningDelta] * 5 + [TextDelta] * 12
    last = items[-1]
    assert isinstance(last, Finish)
    assert last.usage is not None
    assert (last.usage.input_tokens, last.usage.output_tokens, last.usage.reasoning_tokens) == (3, 17, 5)


async def test_text_is_taken_literally(provider: DemoProvider) -> None:
    """The option ``text`` is the answer, whatever is in it."""
    text = "  déjà vu — 🙂\n\n```py\nx = 1\n```\n"
    items = await items_of(provider, demo(text=text))
    assert text_of(items) == text
    assert len(content(items)) > 5


async def test_length_and_stop(provider: DemoProvider) -> None:
    """``max_output_tokens`` ends the answer with ``length``, a stop sequence before itself."""
    text = "one two three four"
    cut = await items_of(provider, demo(text=text, max_output_tokens=2))
    stopped = await items_of(provider, demo(text=text, stop=["four", "thr"]))
    assert (text_of(cut), text_of(stopped)) == ("one two", "one two ")
    assert isinstance(cut[-1], Finish)
    assert isinstance(stopped[-1], Finish)
    assert (cut[-1].reason, stopped[-1].reason, stopped[-1].stop_sequence) == ("length", "stop", "thr")


async def test_scripted_tool_call(provider: DemoProvider) -> None:
    """The tool call is the one asked for, in fragments."""
    script = {"name": "lookup", "arguments": {"q": "Zürich", "n": 3}}
    events = content(await items_of(provider, demo(tokens=0, tool_call=script)))
    assert isinstance(events[0], ToolCallStarted)
    assert sum(isinstance(event, ToolCallDelta) for event in events) > 1
    assert events[-1] == ToolCallCompleted(0, events[0].call_id, "lookup", '{"q": "Zürich", "n": 3}')


@pytest.mark.parametrize(
    "options", [{"tokenz": 1}, {"tokens": -1}, {"tokens": 100_001}, {"rate": "fast"}, {"tool_call": {"name": ""}}]
)
async def test_bad_options_are_refused(provider: DemoProvider, options: dict[str, Any]) -> None:
    """An unknown option or a bad value is told, and no retry helps."""
    seen, error = await failure_of(provider, make_call("demo-1", provider_options=options))
    assert (seen, error.code, error.can_retry) == ([], "provider_rejected", False)


async def test_refusals_are_counted(provider: DemoProvider) -> None:
    """The first n attempts are refused, the next is served; keys are counted apart, and then anew."""
    call = demo(refuse=2, tokens=1)
    for _ in range(2):
        assert (await failure_of(provider, call))[1].status == 429
    assert (await failure_of(provider, demo(refuse=1, refuse_key="other")))[1].status == 429
    assert await items_of(provider, call)
    assert (await failure_of(provider, call))[1].status == 429


async def test_refusals_of_abandoned_calls_are_forgotten(provider: DemoProvider) -> None:
    """The oldest counter goes when there are too many: what was never served does not pile up."""
    for number in range(1025):
        await failure_of(provider, demo(refuse=1, refuse_key=str(number)))
    assert await items_of(provider, demo(refuse=1, refuse_key="1024"))
    assert (await failure_of(provider, demo(refuse=1, refuse_key="0")))[1].status == 429


async def test_failures_happen_where_asked(provider: DemoProvider) -> None:
    """After n tokens, with the code, the status and the retry advice asked for."""
    call = demo(fail_at=3, fail_code="provider_stalled", fail_retryable=True, fail_status=503)
    seen, error = await failure_of(provider, call)
    assert len(content(seen)) == 3
    assert (error.code, error.can_retry, error.status) == ("provider_stalled", True, 503)


async def test_failure_at_the_end_and_past_it(provider: DemoProvider) -> None:
    """At the very end there is still a failure instead of a finish; past it there is none."""
    seen, error = await failure_of(provider, demo(tokens=4, truncate_at=4))
    assert (len(content(seen)), error.code) == (4, "provider_truncated")
    assert isinstance((await items_of(provider, demo(tokens=4, truncate_at=5)))[-1], Finish)


async def test_a_stall_ends_with_cancellation(provider: DemoProvider) -> None:
    """A stalled call says nothing more, and can be cancelled."""
    seen: list[object] = []
    third = asyncio.Event()

    async def read() -> None:
        async for item in provider.stream(demo(stall_at=3)):
            seen.append(item)
            if sum(isinstance(one, TextDelta) for one in seen) == 3:
                third.set()

    task = asyncio.get_running_loop().create_task(read())
    await third.wait()
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sum(isinstance(one, TextDelta) for one in seen) == 3


async def test_pace_does_not_drift(provider: DemoProvider) -> None:
    """Tokens are due by a schedule counted from the first: a reader who paused meets those that came due meanwhile."""
    clock = asyncio.get_running_loop().time
    start = clock()
    call = make_call("demo-1", provider_options={"tokens": 41, "rate": 100, "ttft_s": 0.05})
    paused = False
    async for item in provider.stream(call):
        if isinstance(item, TextDelta) and not paused:
            paused = True
            late = clock() + 0.35
            await wait_until(lambda late=late: clock() > late)
    assert 0.44 <= clock() - start < 0.7


async def test_full_speed_still_yields(provider: DemoProvider) -> None:
    """At rate 0 other tasks get their turns."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.get_running_loop().create_task(count())
    await items_of(provider, demo(tokens=1000))
    task.cancel()
    assert turns >= 30


def script(**options: Any) -> list[ContentEvent]:
    """The events of the undisturbed answer."""
    request = demo(**options).request
    return list(write_answer(request, parse_options(request)).events)


def said(events: list[ContentEvent]) -> list[tuple[str, int, str]]:
    """Events with neighbours of one kind and block joined: what a reader ends up with."""
    joined: list[tuple[str, int, str]] = []
    for event in events:
        name, block = type(event).__name__, event.block
        text = delta_text(event) if isinstance(event, DELTA_TYPES) else repr(event)
        if joined and joined[-1][:2] == (name, block):
            text = joined.pop()[2] + text
        joined.append((name, block, text))
    return joined


@given(st.data())
def test_a_cut_answer_is_continued_to_the_character(data: st.DataObject) -> None:
    """For a cut anywhere, also inside a token: the prefix and what follows it are the uninterrupted answer."""
    options: dict[str, Any] = {"reasoning": 6, "tokens": 9, "tool_call": True, "seed": 3}
    whole = script(**options)
    count = data.draw(st.integers(0, len(whole)))
    prefix, rest = whole[:count], whole[count:]
    if rest and isinstance(rest[0], DELTA_TYPES):
        at = data.draw(st.integers(0, len(delta_text(rest[0]))))
        field = "arguments" if isinstance(rest[0], ToolCallDelta) else "text"
        prefix = [*prefix, replace(rest[0], **{field: delta_text(rest[0])[:at]})] if at else prefix
    following = [event for _, event in after_prefix(script(**options), prefix)]
    assert said(prefix + following) == said(whole)


async def test_continuing_bills_only_what_is_new(provider: DemoProvider) -> None:
    """A continued call goes on in the same block and counts its own tokens."""
    whole = await items_of(provider, demo(tokens=20))
    prefix = content(whole)[:12]
    rest = await items_of(provider, demo(prefix, tokens=20))
    assert prefix + content(rest) == content(whole)
    assert isinstance(rest[-1], Finish)
    assert rest[-1].usage is not None
    assert rest[-1].usage.output_tokens == 8


@pytest.mark.parametrize("prefix", ["Something else", "x" * 5000])
async def test_a_foreign_prefix_is_refused(provider: DemoProvider, prefix: str) -> None:
    """What is not the beginning of this answer can't be continued."""
    _, error = await failure_of(provider, demo([TextDelta(0, prefix)], text="Something"))
    assert error.code == "prefill_refused"


async def test_names() -> None:
    """One model, which can always be continued; closing is harmless."""
    provider = DemoProvider()
    assert provider.models() == ["demo-1"]
    assert provider.can_continue("demo-1")
    assert not provider.can_continue("demo-2")
    await provider.aclose()


async def test_failure_is_told_with_the_counts_so_far(provider: DemoProvider) -> None:
    """Before a failure the counts are yielded, for the terminal event."""
    seen, _ = await failure_of(provider, demo(fail_at=3, input="hi"))
    assert seen[-1] == UsageUpdate(Usage(input_tokens=1, output_tokens=3))
