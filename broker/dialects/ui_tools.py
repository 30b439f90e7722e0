"""Tools as apps send them beside their messages, in the AI SDK's words or in OpenAI's: pure."""

from __future__ import annotations

from typing import Any, cast

from broker.dialects.ui_messages import at


def tools(value: object, path: str) -> list[Any]:
    """The canonical list, of a list of functions or of an object ``name -> {description, inputSchema}``."""
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return [_function(name, tool, f"{path}.{name}") for name, tool in named.items()]
    if not isinstance(value, list):
        raise at(path, "must be an array or an object")
    return [_tool(tool, f"{path}.{index}") for index, tool in enumerate(cast("list[Any]", value))]


def tool_choice(value: object) -> object:
    """The canonical choice; the AI SDK names a tool as ``{"type": "tool", "toolName": …}``."""
    if isinstance(value, dict):
        choice = cast("dict[str, Any]", value)
        return (
            {"type": "function", "function": {"name": choice.get("toolName")}}
            if choice.get("type") == "tool"
            else choice
        )
    return value


def _tool(value: object, path: str) -> Any:
    if not isinstance(value, dict):
        raise at(path, "must be an object")
    tool = cast("dict[str, Any]", value)
    if tool.get("type", "function") != "function":
        raise at(f"{path}.type", "only functions can be called")
    return tool if "function" in tool else _function(tool.get("name"), tool, path)


def _function(name: object, value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise at(path, "must be an object")
    tool = cast("dict[str, Any]", value)
    schema: object = tool.get("inputSchema", tool.get("parameters"))
    # As a schema object of the AI SDK's turns into JSON.
    wrapped = cast("dict[str, Any]", schema).get("jsonSchema") if isinstance(schema, dict) else None
    described = {"description": tool.get("description"), "strict": tool.get("strict")}
    return {
        "type": "function",
        "function": {"name": name, "parameters": wrapped or cast("object", schema), **described},
    }
