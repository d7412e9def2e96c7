"""Stop strings across pieces, and the stop button."""

from hypothesis import given
from hypothesis import strategies as st

from palaver.models.stopping import StopStrings


def test_a_stop_string_is_found_across_pieces_and_its_beginning_never_shown() -> None:
    finder = StopStrings(["Human:"])
    shown = [finder.feed(piece) for piece in ["Yes. Hu", "man", ": and", " more"]]
    assert "".join(shown) == "Yes. "
    assert finder.found == "Human:"
    assert finder.rest() == ""


def test_what_only_looked_like_a_stop_string_is_shown_in_the_end() -> None:
    finder = StopStrings(["Human:"])
    assert finder.feed("A Hum") + finder.rest() == "A Hum"
    assert finder.found is None


def test_the_earliest_stop_string_counts() -> None:
    finder = StopStrings(["b", "a"])
    assert finder.feed("xxab") == "xx"
    assert finder.found == "a"


@given(st.text("abx", max_size=30), st.lists(st.text("abx", min_size=1, max_size=3), max_size=3), st.data())
def test_any_cutting_into_pieces_gives_what_the_whole_text_gives(
    text: str, stop: list[str], data: st.DataObject
) -> None:
    finder, shown, rest = StopStrings(stop), "", text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        shown += finder.feed(rest[:size])
        rest = rest[size:]
    shown += finder.rest()
    cuts = [text.index(each) for each in stop if each in text]
    if not cuts:
        assert shown == text
    else:
        assert not any(each in shown for each in stop)
        assert text.startswith(shown)
        assert len(shown) <= min(text.index(each) + len(each) for each in stop if each in text)
