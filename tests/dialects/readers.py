"""What the bodies of vendors say, as facts of :mod:`tests.dialects.talks`: without the code under test."""

from __future__ import annotations

import json
from typing import Any

from broker.dialects.vendors import Vendor
from tests.dialects.talks import Fact, Understood


def understood(vendor: Vendor, body: dict[str, Any]) -> Understood:
    """What a provider of this vendor's is told."""
    match vendor:
        case "anthropic":
            return _read_messages(body)
        case "openai.responses":
            return _read_responses(body)
        case _:
            return _read_chat(body)


def _read_chat(body: dict[str, Any]) -> Understood:
    said = Understood(temperature=body["temperature"])
    said.limit = body.get("max_completion_tokens") or body["max_tokens"]
    for message in body["messages"]:
        who = {"tool": "result"}.get(message["role"], message["role"])
        parts = _as_parts(message["content"], "text")
        about = (message["tool_call_id"],) if who == "result" else ()
        if who == "system":
            said.system += "".join(part["text"] for part in parts)
            continue
        for part in parts:
            image = part.get("image_url")
            said.facts.append((who, "image", *about, image["url"]) if image else (who, "text", *about, part["text"]))
        for call in message.get("tool_calls", ()):
            said.facts.append(_call(call["id"], call["function"]))
    _read_tools(said, body, [tool["function"]["name"] for tool in body.get("tools", ())])
    said.schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    return said


def _read_responses(body: dict[str, Any]) -> Understood:
    said = Understood(temperature=body["temperature"], limit=body["max_output_tokens"])
    said.system = body.get("instructions", "")
    for item in body["input"]:
        match item["type"]:
            case "function_call":
                said.facts.append(_call(item["call_id"], item))
            case "function_call_output":
                parts = _as_parts(item["output"], "input_text")
                said.facts += [("result", kind, item["call_id"], value) for kind, value in map(_shown, parts)]
            case "reasoning":
                text = "".join(part["text"] for part in item["summary"])
                said.facts.append(("assistant", "thought", "openai-responses", text, item["encrypted_content"]))
            case _ if item["role"] == "system":
                said.system += "".join(part["text"] for part in item["content"])
            case _:
                said.facts += [(item["role"], *_shown(part)) for part in item["content"]]
    _read_tools(said, body, [tool["name"] for tool in body.get("tools", ())])
    said.schema = body.get("text", {}).get("format", {}).get("schema")
    return said


def _read_tools(said: Understood, body: dict[str, Any], names: list[str]) -> None:
    choice = body.get("tool_choice", "auto")
    said.tools = tuple(names)
    said.choice = choice if isinstance(choice, str) else choice.get("function", choice)["name"]
    said.parallel = body.get("parallel_tool_calls", True)


def _read_messages(body: dict[str, Any]) -> Understood:
    said = Understood(temperature=body["temperature"], limit=body["max_tokens"])
    said.system = "".join(part["text"] for part in _as_parts(body.get("system", ""), "text") if part["text"])
    for message in body["messages"]:
        for block in message["content"]:
            said.facts += _read_block(message["role"], block)
    choice: dict[str, str] = body.get("tool_choice", {"type": "auto"})
    said.tools = tuple(tool["name"] for tool in body.get("tools", ()))
    said.choice = choice.get("name") or {"any": "required"}.get(choice["type"], choice["type"])
    said.parallel = not choice.get("disable_parallel_tool_use", False)
    said.schema = body.get("output_config", {}).get("format", {}).get("schema")
    return said


def _read_block(role: str, block: dict[str, Any]) -> list[Fact]:
    match block["type"]:
        case "text":
            return [(role, "text", block["text"])]
        case "image":
            source = block["source"]
            data = f"data:{source.get('media_type')};base64,{source.get('data')}"
            return [(role, "image", source.get("url") or data)]
        case "thinking":
            return [(role, "thought", "anthropic", block["thinking"], block["signature"])]
        case "tool_use":
            return [(role, "call", block["id"], block["name"], block["input"])]
        case _:
            told = [fact for part in block["content"] for fact in _read_block("result", part)]
            return [(who, kind, block["tool_use_id"], value) for who, kind, value in told]


def _shown(part: dict[str, Any]) -> tuple[str, str]:
    return ("image", part["image_url"]) if part["type"] == "input_image" else ("text", part["text"])


def _call(call_id: str, function: dict[str, Any]) -> Fact:
    return ("assistant", "call", call_id, function["name"], json.loads(function["arguments"]))


def _as_parts(content: Any, kind: str) -> list[dict[str, Any]]:
    return [{"type": kind, "text": content}] if isinstance(content, str) else content or []
