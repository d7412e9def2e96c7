"""Figures of a conversation that need no model."""

import json

import pytest

from palaver.core.message import Message, Role, timestamp
from palaver.evaluation import Silence, statistics
from palaver.records.figures import percentile


def said(*lines: tuple[str, str], role: Role = "model") -> list[Message]:
    """Messages, the n-th at second 10·n."""
    return [
        Message(room="r", seq=n, id=str(n), sender=name, role=role, content=text, timestamp=timestamp(10.0 * n))
        for n, (name, text) in enumerate(lines, 1)
    ]


def test_shares_are_of_the_words_and_the_silent_count() -> None:
    found = statistics(said(("Ada", "one two three"), ("Bob", "four")), names=["Cid"])
    assert found.share == {"Cid": 0.0, "Ada": 0.75, "Bob": 0.25}
    assert found.lengths["Ada"].mean == 3 and "Cid" not in found.lengths


@pytest.mark.parametrize(
    ("lines", "entropy", "gini"),
    [
        ([("Ada", "a b"), ("Bob", "c d")], 1.0, 0.0),
        ([("Ada", "a b c"), ("Bob", "...")], 0.0, 0.5),
        ([("Ada", "a b c"), ("Bob", "d")], 0.8113, 0.25),
    ],
)
def test_entropy_and_gini_say_how_evenly_they_talk(lines: list[tuple[str, str]], entropy: float, gini: float) -> None:
    found = statistics(said(*lines))
    assert found.entropy == pytest.approx(entropy, abs=1e-4)
    assert found.gini == pytest.approx(gini)


def test_one_speaker_alone_has_neither() -> None:
    found = statistics(said(("Ada", "hello")))
    assert found.entropy is None and found.gini is None and found.self_bleu is None
    assert statistics([]).messages == 0


def test_who_follows_whom_is_counted() -> None:
    found = statistics(said(("Ada", "a"), ("Bob", "b"), ("Ada", "c"), ("Bob", "d"), ("Bob", "e")))
    assert found.follows == {"Ada": {"Bob": 2}, "Bob": {"Ada": 1, "Bob": 1}}


def test_latency_is_since_the_other_spoke() -> None:
    found = statistics(said(("Ada", "a"), ("Bob", "b"), ("Bob", "c"), ("Ada", "d")))
    assert found.latency["Bob"].p50 == 10.0 and found.latency["Ada"].p95 == 10.0


def test_percentiles_lie_between_the_ranks() -> None:
    assert percentile([1, 2, 3, 4], 0.5) == 2.5
    assert percentile([5], 0.95) == 5
    assert percentile(list(range(101)), 0.95) == 95


def test_coverage_is_who_was_named_and_answered() -> None:
    found = statistics(said(("Ada", "Bob and Cid, well?"), ("Bob", "Yes."), ("Ada", "Cid?"), ("Cid", "Here.")))
    assert found.addressee_coverage == 2 / 3
    assert statistics(said(("Ada", "hello"))).addressee_coverage is None


def test_adherence_is_the_share_of_silences_that_were_kept() -> None:
    messages = said(("Ada", "a"), ("Bob", "b"), ("Ada", "c"))
    kept = Silence(timestamp(21), timestamp(29))
    broken = Silence(timestamp(11), timestamp(29))
    of_ada = Silence(timestamp(11), timestamp(29), ("ada",))
    assert statistics(messages, silences=[kept, broken]).adherence == 0.5
    assert statistics(messages, silences=[of_ada]).adherence == 1.0
    assert statistics(messages).adherence is None


def test_people_break_no_silence() -> None:
    assert statistics(said(("Mod", "go"), role="moderator"), silences=[Silence(timestamp(1))]).adherence == 1.0


def test_whispers_redactions_and_the_system_are_left_out() -> None:
    public, hushed, gone = said(("Ada", "a"), ("system", "b"), ("Bob", "c"))
    whisper = Message(**{**{f: getattr(gone, f) for f in gone.__struct_fields__}, "to": "Ada"})
    redacted = Message(**{**{f: getattr(gone, f) for f in gone.__struct_fields__}, "redacted": "rude"})
    assert statistics([public, hushed, whisper, redacted]).messages == 1


def test_all_of_it_is_json() -> None:
    assert json.loads(json.dumps(statistics(said(("Ada", "a b"), ("Bob", "c"))).as_dict()))["messages"] == 2
