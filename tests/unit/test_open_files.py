"""The limit of open files goes up at start, and never down."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from broker.open_files import allow_open_files


@pytest.fixture(autouse=True)
def limits() -> Iterator[tuple[int, int]]:
    """As they were, afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_it_goes_up(limits: tuple[int, int]) -> None:
    """What a shell allows by default is not enough for a thousand calls."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    assert allow_open_files(600) == 600


def test_it_goes_up_no_further_than_the_system_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hard limit is somebody else's to raise."""
    asked: list[tuple[int, int]] = []

    def get(_what: int) -> tuple[int, int]:
        return asked[-1] if asked else (512, 700)

    def put(_what: int, limits: tuple[int, int]) -> None:
        asked.append(limits)

    with monkeypatch.context() as patch:
        patch.setattr(resource, "getrlimit", get)
        patch.setattr(resource, "setrlimit", put)
        assert allow_open_files(800) == 700
    assert asked == [(700, 700)]


def test_it_never_goes_down() -> None:
    """Somebody has allowed more: that stands."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert allow_open_files(10) == before


def test_a_system_that_refuses_is_left_as_it_is(limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """MacOS has a limit below the one that it names."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))

    def refuse(_what: int, _limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", refuse)
        assert allow_open_files(600) == 512
