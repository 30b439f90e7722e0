"""The tree of errors is the one that is drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator

import broker.errors as module
from broker.errors import LogUnavailable, ProviderError, RejoinderError


def classes(base: type[RejoinderError] = RejoinderError) -> Iterator[type[RejoinderError]]:
    """All of this module's classes below one."""
    for found in base.__subclasses__():
        if found.__module__ == module.__name__:
            yield found
            yield from classes(found)


def test_the_drawing_is_true() -> None:
    """Each class that is raised, with its code and whether a retry can help."""
    drawn = re.findall(r"─ (\w+) +([a-z_]+) +(no|yes)\b", module.__doc__ or "")
    raised = {*(found for found in classes() if not list(classes(found))), LogUnavailable} - {ProviderError}
    assert sorted(drawn) == sorted((c.__name__, c.code, "yes" if c.retryable else "no") for c in raised)


def test_each_has_a_message_of_its_own() -> None:
    """The docstring's first line is what people read when nothing better is known."""
    for found in classes():
        if found is not ProviderError:
            assert str(found()).endswith("."), found


def test_codes_are_unique() -> None:
    """A client can tell them apart."""
    codes = [found.code for found in classes()]
    assert len(codes) == len(set(codes))
