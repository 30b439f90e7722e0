"""Halves of characters: joined when both come, replaced when one does not, never passed on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.providers.surrogates import REPLACEMENT, SurrogateJoiner, mend

ANY_TEXT = st.text(st.characters() | st.sampled_from(["\ud83e", "\udd8a", "\U0001f98a"]))


def joined(pieces: list[str]) -> str:
    """What a joiner makes of the pieces, checking that each thing it gives out can be encoded."""
    joiner = SurrogateJoiner()
    out = [*map(joiner.feed, pieces), joiner.flush()]
    for piece in out:
        piece.encode()
    return "".join(out)


def halves(text: str) -> list[str]:
    """The text by UTF-16 units."""
    data = text.encode("utf-16-le", "surrogatepass")
    return [chr(int.from_bytes(data[at : at + 2], "little")) for at in range(0, len(data), 2)]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whole_text_cut_by_units_comes_out_whole(text: str) -> None:
    """Cut between all UTF-16 units, a text is the same text again."""
    assert joined(halves(text)) == text


@given(st.lists(ANY_TEXT))
def test_cuts_make_no_difference(pieces: list[str]) -> None:
    """However the text was cut, the outcome is the mended whole."""
    assert joined(pieces) == mend("".join(pieces))


@given(ANY_TEXT)
def test_mending_is_what_utf16_says(text: str) -> None:
    """The codec of UTF-16 agrees on pairs and on lone halves."""
    assert mend(text) == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def test_a_first_half_waits_and_is_replaced_at_the_end() -> None:
    """The first half is held back until its other half, another character or the end comes."""
    joiner = SurrogateJoiner()
    assert joiner.feed("a\ud83e") == "a"
    assert joiner.feed("") == ""
    assert joiner.feed("\udd8a") == "\U0001f98a"
    assert joiner.feed("\ud83e") == ""
    assert joiner.feed("b") == REPLACEMENT + "b"
    assert joiner.feed("\ud83e") == ""
    assert joiner.flush() == REPLACEMENT
    assert joiner.flush() == ""
