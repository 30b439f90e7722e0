"""What the provider of the bench is asked for and answers, as OpenAI's chat completions have it: pure."""

from __future__ import annotations

import msgspec

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_LAST = b"0\r\n\r\n"


class Ask(msgspec.Struct, frozen=True):
    """What to say: ``tokens`` of them, ``rate`` a second; 0 = all at once. ``held``: only the first, until told.

    ``stamped``: each token says which one it is and when it was sent, as :func:`stamped`.
    """

    key: str
    tokens: int
    rate: float = 0.0
    held: bool = False
    stamped: bool = False

    def prompt(self) -> str:
        """For the last message."""
        return msgspec.json.encode(self).decode()


class Count(msgspec.Struct, frozen=True):
    """Calls and tokens so far. ``cut``: calls whose caller left before the end; ``late_ms``: p99 of the schedule."""

    asked: int = 0
    open: int = 0
    ended: int = 0
    cut: int = 0
    tokens: int = 0
    late_ms: float = 0.0


class Call(msgspec.Struct, frozen=True, array_like=True):
    """Who asked for what, and when: CLOCK_MONOTONIC, ns."""

    key: str
    caller: str
    ns: int


def rest_of(ask: Ask) -> str:
    """All of the answer but its first token."""
    return "".join(f" {number}" for number in range(1, ask.tokens))


def is_whole(text: str, ask: Ask) -> bool:
    """Whether a text is the answer: every token once, in order."""
    key, mark, rest = text.partition("@")
    stamp, end, rest = rest.partition("@")
    return (key, mark, end, rest) == (ask.key, "@", "@", rest_of(ask)) and stamp.isdigit()


def frame(data: bytes) -> bytes:
    """One server-sent event as one chunk of HTTP."""
    return b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data)


def token(text: str, finish: str = "null") -> bytes:
    """A chunk of the answer, with the fields that OpenAI's have; ``finish`` is JSON."""
    delta = b'{"content":%b}' % msgspec.json.encode(text) if text else b"{}"
    about = b'"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":null'
    choice = b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}' % (delta, finish.encode())
    return frame(b'{%b,"choices":[%b],"usage":null}' % (about, choice))


def stamped(number: int, ns: int) -> bytes:
    """Token ``number``, counted from 1, sent at ``ns``: the mark that the load generator looks for, and a word."""
    return token(f"#{number}@{ns}@ word")


END = b"".join(
    (
        token("", '"stop"'),
        frame(b'{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9,"total_tokens":12}}'),
        frame(b"[DONE]"),
        _LAST,
    )
)
