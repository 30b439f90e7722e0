"""The demo's prose: as long as asked for, whole when cut into tokens, more than ASCII."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.providers.demo_text import PROSE, REASONING, Bank, prose, split_tokens


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_tokens_are_the_text(text: str) -> None:
    """Splitting loses nothing."""
    tokens = split_tokens(text)
    assert "".join(tokens) == text
    assert all(tokens)


@given(st.sampled_from([PROSE, REASONING]), st.integers(0, 2**48), st.integers(0, 400))
def test_prose_has_the_length_asked_for(bank: Bank, seed: int, count: int) -> None:
    """Exactly so many tokens, for every seed."""
    assert len(list(prose(bank, seed, count))) == count


def test_prose_holds_more_than_ascii() -> None:
    """The demo's text exercises UTF-8 up to four bytes."""
    text = "".join(prose(PROSE, 1, 2000))
    assert {"é", "—", "🙂"} <= set(text)
