"""Conversations in nobody's dialect, and what they look like in each: written and read without the code under test.

A conversation is a list of facts, in order. What a vendor has no word for is left out by :func:`told_to`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hypothesis import strategies as st

from broker.dialects.sealed import seal
from broker.dialects.vendors import Vendor
from broker.request import Dialect

PIXEL = "data:image/png;base64,iVBORw0KGgo="
Fact: TypeAlias = tuple[Any, ...]
"""Who, what, and more: ``("user", "text", "hi")``, ``("assistant", "call", "c1", "f", {})``,
``("result", "text", "c1", "42")``, ``("assistant", "thought", maker, text, signature)``."""

DIALECTS: tuple[Dialect, ...] = ("openai.chat", "openai.responses", "anthropic")
VENDORS: tuple[Vendor, ...] = ("openai.chat", "openai.responses", "anthropic", "compatible")
HOMES = {"anthropic": "anthropic", "openai.responses": "openai-responses"}
"""Whose reasoning a vendor can read."""


@dataclass(frozen=True)
class Talk:
    """A conversation and the settings of the next answer."""

    facts: list[Fact]
    system: str = ""
    tools: tuple[str, ...] = ()
    choice: str = "auto"
    parallel: bool = True
    schema: dict[str, Any] | None = None
    limit: int = 100
    temperature: float = 0.5


@dataclass
class Understood:
    """What a body says."""

    facts: list[Fact] = field(default_factory=list[Fact])
    system: str = ""
    tools: tuple[str, ...] = ()
    choice: str = "auto"
    parallel: bool = True
    schema: dict[str, Any] | None = None
    limit: int = 0
    temperature: float = 0.0


texts = st.text('aé漢"\\\n \U0001f98a', min_size=1, max_size=8).filter(lambda text: bool(text.strip()))
names = st.sampled_from(["look_up", "add"])
inputs = st.dictionaries(st.sampled_from("xyz"), st.integers(-5, 5) | texts | st.none(), max_size=2)
shown = st.tuples(st.just("text"), texts) | st.tuples(st.just("image"), st.sampled_from([PIXEL, "https://h.example/a"]))
makers = st.sampled_from(["anthropic", "openai-responses", "someone"])
signatures = st.text("ab.=+/1", min_size=1, max_size=6)


@st.composite
def _turn(draw: st.DrawFn, number: int, *, thinks: bool, images: bool) -> list[Fact]:
    """A user's question, an answer with its calls, and their results."""
    facts: list[Fact] = [("user", *part) for part in draw(st.lists(shown, min_size=1, max_size=2))]
    if thinks:
        thoughts = draw(st.lists(st.tuples(makers, texts | st.just(""), signatures), max_size=2))
        facts += [("assistant", "thought", *thought) for thought in thoughts]
    said = draw(st.lists(texts, max_size=2))
    facts += [("assistant", "text", text) for text in said]
    calls = draw(st.lists(st.tuples(names, inputs), min_size=0 if said else 1, max_size=3))
    facts += [("assistant", "call", f"c{number}_{at}", *call) for at, call in enumerate(calls)]
    for at, _ in enumerate(calls):
        results = draw(st.lists(shown if images else st.tuples(st.just("text"), texts), min_size=1, max_size=2))
        facts += [("result", kind, f"c{number}_{at}", value) for kind, value in results]
    return facts


@st.composite
def talks(draw: st.DrawFn, *, thinks: bool = False, images: bool = False) -> Talk:
    """Whole conversations that end with the user."""
    turns = [draw(_turn(number, thinks=thinks, images=images)) for number in range(draw(st.integers(0, 2)))]
    facts = [*(fact for turn in turns for fact in turn), ("user", "text", draw(texts))]
    tools = tuple(draw(st.lists(names, unique=True)))
    return Talk(
        facts,
        system=draw(texts | st.just("")),
        tools=tools,
        choice=draw(st.sampled_from(["auto", "required", "none", *tools])) if tools else "auto",
        parallel=draw(st.booleans()) if tools else True,
        schema=draw(st.none() | st.just({"type": "object", "properties": {"a": {"type": "string"}}})),
        limit=draw(st.integers(1, 9999)),
        temperature=draw(st.sampled_from([0.0, 0.5, 1.0])),
    )


def told_to(vendor: Vendor, facts: list[Fact]) -> list[Fact]:
    """The facts that this vendor can be told: thoughts go only to who can read them."""
    return [fact for fact in facts if fact[1] != "thought" or fact[2] == HOMES.get(vendor)]


def body_in(dialect: Dialect, talk: Talk) -> dict[str, Any]:
    """The conversation as a client of this dialect says it."""
    match dialect:
        case "openai.chat":
            return _as_chat(talk)
        case "openai.responses":
            return _as_responses(talk)
        case _:
            return _as_messages(talk)


def _runs(facts: list[Fact]) -> list[tuple[str, list[Fact]]]:
    """Neighbouring facts of one side; each result by itself."""
    runs: list[tuple[str, list[Fact]]] = []
    for fact in facts:
        side = fact[0] if fact[0] != "result" else fact[2]
        if runs and runs[-1][0] == side:
            runs[-1][1].append(fact)
        else:
            runs.append((side, [fact]))
    return runs


def _as_chat(talk: Talk) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": talk.system}] if talk.system else []
    for _, run in _runs(talk.facts):
        who = run[0][0]
        content = [_chat_part(kind, value) for _, kind, *_, value in run if kind in ("text", "image")]
        calls = [
            {"id": name, "type": "function", "function": {"name": tool, "arguments": json.dumps(value)}}
            for _, kind, name, tool, value in (fact for fact in run if fact[1] == "call")
            if kind
        ]
        message: dict[str, Any] = {"role": {"result": "tool"}.get(who, who), "content": content or None}
        message |= {"tool_call_id": run[0][2]} if who == "result" else {}
        messages.append(message | ({"tool_calls": calls} if calls else {}))
    body: dict[str, Any] = {"model": "m", "messages": messages, "max_completion_tokens": talk.limit}
    body |= {"temperature": talk.temperature}
    if talk.tools:
        choice = {"type": "function", "function": {"name": talk.choice}}
        body["tools"] = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in talk.tools]
        body["tool_choice"] = choice if talk.choice in talk.tools else talk.choice
        body["parallel_tool_calls"] = talk.parallel
    if talk.schema:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "n", "schema": talk.schema}}
    return body


def _chat_part(kind: str, value: str) -> dict[str, Any]:
    return {"type": "text", "text": value} if kind == "text" else {"type": "image_url", "image_url": {"url": value}}


def _as_responses(talk: Talk) -> dict[str, Any]:
    items = [item for _, run in _runs(talk.facts) for item in _items(run)]
    body: dict[str, Any] = {"model": "m", "input": items, "max_output_tokens": talk.limit}
    body |= {"temperature": talk.temperature} | ({"instructions": talk.system} if talk.system else {})
    if talk.tools:
        choice = {"type": "function", "name": talk.choice}
        tool: dict[str, Any] = {"type": "function", "parameters": {}, "strict": False}
        tools = [tool | {"name": name} for name in talk.tools]
        body |= {"tools": tools, "parallel_tool_calls": talk.parallel}
        body["tool_choice"] = choice if talk.choice in talk.tools else talk.choice
    if talk.schema:
        body["text"] = {"format": {"type": "json_schema", "name": "n", "schema": talk.schema}}
    return body


def _items(run: list[Fact]) -> list[dict[str, Any]]:
    who = run[0][0]
    if who == "user":
        return [{"role": "user", "content": [_input_part(kind, value) for _, kind, value in run]}]
    if who == "result":
        output = [_input_part(kind, value) for _, kind, _, value in run]
        return [{"type": "function_call_output", "call_id": run[0][2], "output": output}]
    return [_item(fact) for fact in run]


def _item(fact: Fact) -> dict[str, Any]:
    match fact:
        case (_, "thought", maker, text, signature):
            summary = [{"type": "summary_text", "text": text}] if text else []
            sealed = seal(maker, "signature", signature, home="openai-responses")
            return {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": sealed}
        case (_, "call", name, tool, value):
            return {"type": "function_call", "call_id": name, "name": tool, "arguments": json.dumps(value)}
        case _:
            content: list[dict[str, Any]] = [{"type": "output_text", "text": fact[2], "annotations": []}]
            return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content}


def _input_part(kind: str, value: str) -> dict[str, Any]:
    return {"type": "input_text", "text": value} if kind == "text" else {"type": "input_image", "image_url": value}


def _as_messages(talk: Talk) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    for _, run in _runs(talk.facts):
        role = "assistant" if run[0][0] == "assistant" else "user"
        content = [_block(fact) for fact in run]
        if run[0][0] == "result":
            shown = [_block(("user", kind, value)) for _, kind, _, value in run]
            content = [{"type": "tool_result", "tool_use_id": run[0][2], "content": shown}]
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += content
        else:
            messages.append({"role": role, "content": content})
    body: dict[str, Any] = {"model": "m", "messages": messages, "max_tokens": talk.limit}
    body |= {"temperature": talk.temperature} | ({"system": talk.system} if talk.system else {})
    if talk.tools:
        choice = {"auto": "auto", "required": "any", "none": "none"}.get(talk.choice)
        body["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in talk.tools]
        body["tool_choice"] = {"type": choice} if choice else {"type": "tool", "name": talk.choice}
        body["tool_choice"] |= {} if talk.choice == "none" else {"disable_parallel_tool_use": not talk.parallel}
    if talk.schema:
        body["output_config"] = {"format": {"type": "json_schema", "schema": talk.schema}}
    return body


def _block(fact: Fact) -> dict[str, Any]:
    match fact:
        case (_, "thought", maker, text, signature):
            sealed = seal(maker, "signature", signature, home="anthropic")
            return {"type": "thinking", "thinking": text, "signature": sealed}
        case (_, "call", name, tool, value):
            return {"type": "tool_use", "id": name, "name": tool, "input": value}
        case (_, "image", *_, url) if url.startswith("data:"):
            source = {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]}
            return {"type": "image", "source": source}
        case (_, "image", *_, url):
            return {"type": "image", "source": {"type": "url", "url": url}}
        case _:
            return {"type": "text", "text": fact[-1]}
