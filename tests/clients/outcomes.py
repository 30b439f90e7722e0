"""What each client does in each scenario: data, which the tests hold the clients to and docs/clients.md shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

SCENARIOS = ("text", "tools", "reasoning", "error", "cancel", "cut", "again", "node")
"""``error``: the provider fails in the middle. ``cancel``: somebody else cancels. ``cut``: the connection breaks at a
random byte. ``again``: the same, and the application does what docs/clients.md says. ``node``: the node is killed, and
likewise."""
HEADINGS = {
    "text": "text",
    "tools": "tools",
    "reasoning": "reasoning",
    "error": "the provider fails",
    "cancel": "cancelled elsewhere",
    "cut": "cut",
    "again": "cut, and the recipe",
    "node": "node killed, and the recipe",
}


@dataclass(frozen=True)
class Outcome:
    """What the application is left with. ``says``: in the table."""

    says: str
    finish: str | None
    """How the client says that it ended; ``None`` = it does not."""
    errors: tuple[str, ...] = ()
    """The class of the error, one of these; empty = there is none."""
    complete: bool = True
    """All of the answer, to the letter; otherwise a beginning of it."""
    reasoning: bool = True
    """Reasoning is shown, where there is some."""
    holes: bool = False
    """Something in the middle may be missing: what was cut in two."""


@dataclass(frozen=True)
class Traits:
    """What one client is like."""

    stop: str
    """Its word for an answer that ended by itself."""
    tools: str
    """Its word for one that ended with tool calls."""
    failed: str | None
    """Its word for one that failed; ``None`` = it has only the error."""
    error: tuple[str, ...]
    """What a failure of the provider becomes."""
    cancelled: str | None
    """Its word for one that was cancelled."""
    cancel: tuple[str, ...]
    """What a cancel becomes; empty = no error."""
    broken: tuple[str, ...]
    """What a cut becomes; empty = it goes on by itself."""
    recipe: str
    """What makes a cut harmless."""
    status_broken: str | None = None
    """Its word for an answer that was cut."""
    reasoning: bool = True
    holes: bool = False
    """A cut costs it the event that was cut in two."""
    note: str = ""
    """What the table adds to a failure and to a cancel."""

    def outcome(self, scenario: str) -> Outcome:
        """What to expect."""
        ends = {
            "text": Outcome("pass", self.stop),
            "tools": Outcome("pass", self.tools),
            "reasoning": Outcome("pass" if self.reasoning else "not shown", self.stop, reasoning=self.reasoning),
            "error": Outcome(_says(self.failed, self.error, self.note), self.failed, self.error, complete=False),
            "cancel": Outcome(
                _says(self.cancelled, self.cancel, self.note), self.cancelled, self.cancel, complete=False
            ),
        }
        if scenario == "cut" and self.holes:
            return Outcome("goes on, without the event that was cut in two", None, complete=False, holes=True)
        if scenario == "cut" and self.broken:
            return Outcome(_says(None, self.broken, ""), self.status_broken, self.broken, complete=False)
        return ends.get(scenario, Outcome(f"pass: {self.recipe}", self.stop))


def _says(finish: str | None, errors: tuple[str, ...], note: str) -> str:
    said = " or ".join(f"`{error}`" for error in errors if error != finish)
    return (said or f"`{finish}`") + (f" {note}" if note else "")


_KEY = "same key"
_ITSELF = "by itself"
_PY_CHAT = Traits("stop", "tool_calls", None, ("APIError",), None, ("APIError",), ("APIConnectionError",), _KEY)
_PY_RESPONSES = Traits(
    "completed", "completed", "failed", ("failed",), "cancelled", (), ("APIConnectionError",), "`starting_after`"
)
_PY_HELPER = replace(
    _PY_RESPONSES, error=("RuntimeError",), cancel=("RuntimeError",), recipe=_KEY, note="once all events were read"
)
_PY_MESSAGES = Traits(
    "end_turn",
    "tool_use",
    None,
    ("APIStatusError",),
    None,
    ("APIStatusError",),
    ("RemoteProtocolError", "ReadError"),
    _KEY,
)
_JS_CHAT = replace(_PY_CHAT, broken=("TypeError",))
_JS_RESPONSES = replace(_PY_RESPONSES, broken=("TypeError",))
_JS_MESSAGES = replace(_PY_MESSAGES, error=("APIError",), cancel=("APIError",), broken=("TypeError",))
_AI = Traits(
    "stop", "tool-calls", "error", ("StreamProviderError",), "error", ("StreamProviderError",), ("APICallError",), _KEY
)
_CHAT_PAGE = Traits("ready", "ready", "error", ("Error",), "ready", (), ("TypeError",), "the tab is shown or reloaded")
_NATIVE = Traits("stop", "tool_calls", "failed", ("failed",), "cancelled", (), (), _ITSELF)

TRAITS = {
    "openai-py-chat": _PY_CHAT,
    "openai-py-chat-helper": replace(_PY_CHAT, reasoning=False),
    "openai-py-responses": _PY_RESPONSES,
    "openai-py-responses-helper": _PY_HELPER,
    "anthropic-py": _PY_MESSAGES,
    "anthropic-py-helper": _PY_MESSAGES,
    "openai-js-chat": _JS_CHAT,
    "openai-js-chat-helper": replace(_JS_CHAT, broken=("OpenAIError",), reasoning=False),
    "openai-js-responses": _JS_RESPONSES,
    "openai-js-responses-helper": replace(_JS_RESPONSES, broken=("OpenAIError",), recipe=_KEY),
    "anthropic-js": _JS_MESSAGES,
    "anthropic-js-helper": replace(_JS_MESSAGES, broken=("AnthropicError",)),
    "ai-openai-responses": replace(_AI, cancelled="stop", cancel=()),
    "ai-openai-chat": replace(_AI, reasoning=False),
    "ai-anthropic": _AI,
    "usechat-default": replace(_CHAT_PAGE, status_broken="error"),
    "usechat-workflow": replace(_CHAT_PAGE, broken=(), recipe=_ITSELF),
    "eventsource-browser": _NATIVE,
    "eventsource": _NATIVE,
    "fetch-event-source": replace(_NATIVE, holes=True, recipe="`fetch` option"),
}
"""By client; what is sync is no different."""

LABELS = {
    "openai-py-chat": "openai, Python: `chat.completions.create`",
    "openai-py-chat-helper": "openai, Python: `chat.completions.stream`",
    "openai-py-responses": "openai, Python: `responses.create`",
    "openai-py-responses-helper": "openai, Python: `responses.stream`",
    "anthropic-py": "anthropic, Python: `messages.create`",
    "anthropic-py-helper": "anthropic, Python: `messages.stream`",
    "openai-js-chat": "openai, JS: `chat.completions.create`",
    "openai-js-chat-helper": "openai, JS: `chat.completions.stream`",
    "openai-js-responses": "openai, JS: `responses.create`",
    "openai-js-responses-helper": "openai, JS: `responses.stream`",
    "anthropic-js": "@anthropic-ai/sdk: `messages.create`",
    "anthropic-js-helper": "@anthropic-ai/sdk: `messages.stream`",
    "ai-openai-responses": "ai + @ai-sdk/openai: `openai(…)`",
    "ai-openai-chat": "ai + @ai-sdk/openai: `openai.chat(…)`",
    "ai-anthropic": "ai + @ai-sdk/anthropic",
    "usechat-default": "useChat: `DefaultChatTransport`",
    "usechat-workflow": "useChat: `WorkflowChatTransport`",
    "eventsource-browser": "EventSource, in the browser",
    "eventsource": "EventSource, the package `eventsource`",
    "fetch-event-source": "@microsoft/fetch-event-source",
}
"""In the table."""


def outcome(client: str, scenario: str) -> Outcome:
    """What this client, sync or not, does in this scenario."""
    return TRAITS[client.removesuffix("-sync")].outcome(scenario)
