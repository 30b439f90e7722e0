"""The demo provider's prose: seeded, endless, and already cut into tokens. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

_TOKEN = re.compile(r"\s*(?:\w{1,8}|[^\w\s])|\s+")
_MASK = (1 << 64) - 1


def split_tokens(text: str) -> list[str]:
    """Cut a text into token-like pieces, each with the white space before it; joined they are the text again."""
    return _TOKEN.findall(text)


class Bank(NamedTuple):
    """What sentences are assembled from: one phrase of each column, as tokens, and endings by their length."""

    columns: tuple[tuple[list[str], ...], ...]
    closers: dict[int, list[str]]


def _bank(columns: list[list[str]], closers: list[str]) -> Bank:
    cut = tuple(tuple(split_tokens(phrase) for phrase in column) for column in columns)
    return Bank(cut, {len(tokens): tokens for tokens in map(split_tokens, closers)})


PROSE = _bank(
    [
        ["The river", "A relay", "Every letter", "The ferryman", "A small café", "The **signal**", "A lantern", "Zoë"],
        [
            " carries",
            " hands over",
            " remembers",
            " waits for",
            " keeps",
            " returns with",
            " never drops",
            " passes on",
        ],
        [
            " the next word",
            " a sealed envelope",
            " the morning's news",
            " what the rain began",
            " a line of *blue ink*",
            " the old message",
            " the runner's torch",
            " a déjà vu",
        ],
        [
            ".",
            ", and the current holds.",
            " across the bridge.",
            " — slowly, surely.",
            " before the lamps go out.",
            "; nobody misses a step.",
            " while the town sleeps.",
            " and smiles 🙂.",
        ],
    ],
    [
        " 🙂",
        " Done.",
        " All well.",
        " The river rests.",
        " The last letter arrives.",
        " Every lamp is out now.",
        " And so the relay comes home.",
        " Nothing was lost — not one word.",
    ],
)
"""What the demo answers with."""

REASONING = _bank(
    [
        ["The reader asks", "Perhaps the question is", "First I should weigh", "It may help to recall"],
        [" where the river turns", " who holds the letter", " how the relay is run", " why the lamp is lit"],
        [".", ", then answer plainly.", " — one step at a time.", ", and in which order."],
    ],
    [
        " …",
        " Good.",
        " That fits.",
        " So be it.",
        " I can answer now.",
        " The order is clear enough.",
        " That leaves only the plain answer.",
        " Enough thought, time to write this.",
    ],
)
"""What the demo thinks."""

_LONGEST_SENTENCE = 24
"""Tokens. At most the sum of the closers' lengths, 1 + 2 + … + 8, so that what is left can be closed exactly."""


class _Dice:
    """A linear congruential generator: the same numbers on every platform and Python, and cheap."""

    def __init__(self, seed: int) -> None:
        self._state = (seed ^ 0x9E3779B97F4A7C15) & _MASK

    def below(self, limit: int) -> int:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self._state >> 33) % limit


def prose(bank: Bank, seed: int, count: int) -> Iterator[str]:
    """Exactly ``count`` tokens of whole sentences, the same ones for the same seed."""
    dice = _Dice(seed)
    left = count
    lead = ""
    while left > _LONGEST_SENTENCE:
        sentence = list(chain.from_iterable(column[dice.below(len(column))] for column in bank.columns))
        sentence[0] = lead + sentence[0]
        left -= len(sentence)
        lead = "\n\n" if dice.below(5) == 0 else " "
        yield from sentence
    for size in sorted(bank.closers, reverse=True):
        if size <= left:
            closer = bank.closers[size]
            yield closer[0].lstrip() if left == count else closer[0]
            yield from closer[1:]
            left -= size
