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


def test_it_goes_up_as_far_as_the_system_lets_it(limits: tuple[int, int]) -> None:
    """What a shell allows by default is not enough for a thousand calls."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    assert allow_open_files(600) == 600
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 700))
    assert allow_open_files(800) == 700


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
