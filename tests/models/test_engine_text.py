"""What a reply shows while it grows: whole characters, nothing of a stop string, no hanging space."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from palaver.models.engine.text import TextStream


def by_bytes(tokens: Sequence[int]) -> str:
    """A tokenizer whose tokens are bytes."""
    return bytes(tokens).decode("utf-8", errors="replace")


def shown(text: str, stop: Sequence[str] = ()) -> tuple[list[str], TextStream]:
    stream = TextStream(by_bytes, stop)
    pieces: list[str] = []
    for token in text.encode():
        pieces.append(stream.push(token))
        if stream.stopped_by is not None:
            break
    pieces.append(stream.finish())
    return pieces, stream


def test_a_character_of_several_tokens_comes_whole() -> None:
    pieces, _ = shown("né 🙂!")
    assert [piece for piece in pieces if piece] == ["n", "é", " 🙂", "!"]


def test_a_character_cut_off_by_the_token_limit_is_left_out() -> None:
    stream = TextStream(by_bytes)
    pieces = [stream.push(token) for token in "a🙂".encode()[:-1]]
    assert "".join([*pieces, stream.finish()]) == "a"


def test_a_stop_string_is_cut_and_never_shown_in_part() -> None:
    pieces, stream = shown("Yes.\nTinker: no", ["\nTinker:"])
    assert "".join(pieces) == stream.text == "Yes."
    assert stream.stopped_by == "\nTinker:"


def test_what_only_looked_like_a_stop_string_is_shown() -> None:
    pieces, stream = shown("a\nTinkers", ["\nTinker:"])
    assert "".join(pieces) == "a\nTinkers" and stream.stopped_by is None


def test_outer_white_space_is_left_out() -> None:
    pieces, _ = shown("\n  two words \n")
    assert "".join(pieces) == "two words"


@given(
    st.text(alphabet="ab :\né🙂", max_size=30), st.lists(st.text(alphabet="ab:\n", min_size=1, max_size=4), max_size=3)
)
def test_the_pieces_are_the_text_before_the_first_stop_string(text: str, stop: list[str]) -> None:
    pieces, stream = shown(text, stop)
    ends = [end for each in stop if (end := text.find(each)) >= 0]
    found = [(text.find(each) + len(each), text.find(each)) for each in stop if each in text]
    expected = text[: min(found)[1]] if found else text
    assert "".join(pieces) == stream.text
    if not ends:
        assert stream.text == text.strip()
    else:
        assert stream.text == expected.strip() or any(stream.text == text[:end].strip() for end in ends)


@given(st.text(max_size=20))
def test_any_text_survives(text: str) -> None:
    pieces, _ = shown(text.replace("\ufffd", ""))
    assert "".join(pieces) == text.replace("\ufffd", "").strip()


@given(st.binary(max_size=20), st.lists(st.text(alphabet="ab", min_size=1, max_size=2), max_size=1))
def test_where_nobody_listens_the_text_is_the_same(tokens: bytes, stop: list[str]) -> None:
    live, late = TextStream(by_bytes, stop), TextStream(by_bytes, stop, live=False)
    for token in tokens:
        live.push(token)
        assert late.push(token) == "" or stop
    live.finish()
    late.finish()
    assert (late.text, late.stopped_by) == (live.text, live.stopped_by)
