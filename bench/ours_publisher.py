"""Appends tokens to Rejoinder's logs: what ``Scripts.append`` sends, packed once per stream and filled in per token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, cast

from bench.ours import FIRST, LEASE_MS, PREFIX
from bench.publishing import RedisPipe, pack
from bench.systems import JsonObject, Publisher, Stream
from broker.events import TextDelta, encode_entry
from broker.keys import Keys
from broker.redis import Redis
from broker.scripts import Fence, Scripts

_SEQ = 7_000_000_007
_TEXT = "\x01token\x01"
"""What stands in the template where a number and a text are filled in: nothing else looks like them."""


class _Recorder:
    """Stands in for a Redis client; keeps the command by which a script would have been run."""

    def __init__(self) -> None:
        self.command: list[bytes] = []

    def register_script(self, script: str) -> Any:
        """A script that is recorded instead of run."""
        digest = hashlib.sha1(script.encode()).hexdigest()  # what EVALSHA knows a script by

        async def run(*, keys: Sequence[str], args: Sequence[Any], client: Any = None) -> Any:
            del client
            words = ("EVALSHA", digest, len(keys), *keys, *args)
            self.command = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            return [b"ok", b""]

        return run


def template(stream: Stream) -> Callable[[int, bytes], bytes]:
    """A function from (seq, text) to the packed command that appends the text as one entry.

    Raises:
        ValueError: when the command no longer holds the number and the text exactly once.
    """
    recorder = _Recorder()
    scripts = Scripts(cast("Redis", recorder), Keys(PREFIX))
    fence = Fence(stream.data["owner"], stream.data["epoch"])
    field, value = encode_entry(TextDelta(0, _TEXT))
    appending = scripts.append(stream.name, fence, _SEQ, [(field, value)], lease_ms=LEASE_MS)
    try:
        appending.send(None)
    except StopIteration:
        pass
    else:
        raise ValueError("an append waits for more than its script")
    packed = pack(*recorder.command)
    seq, text = _word(str(_SEQ).encode()), _word(value)
    if packed.count(seq) != 1 or packed.count(text) != 1:
        raise ValueError("an append has another form than this template")
    head, _, rest = packed.partition(seq)
    middle, _, tail = rest.partition(text)

    def fill(number: int, token: bytes) -> bytes:
        digits = b"%d" % number
        return b"%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n%b" % (head, len(digits), digits, middle, len(token), token, tail)

    return fill


def _word(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


class OursPublisher(RedisPipe):
    """All streams over one connection."""

    def __init__(self, url: str, streams: Sequence[Stream]) -> None:
        super().__init__(url)
        self._fill = [template(stream) for stream in streams]

    def expected(self, reply: Any) -> bool:
        """An append that was taken, with no cancel asked for."""
        return reply in ([b"ok", b""], b"OK")

    def publish(self, stream: int, number: int, text: bytes) -> None:
        """One append."""
        self.post(self._fill[stream](FIRST + number, text))


def publisher(args: JsonObject, streams: Sequence[Stream]) -> Publisher:
    """For the producer."""
    return OursPublisher(args["url"], streams)
