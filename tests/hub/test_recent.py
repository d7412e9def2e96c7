"""What memory holds for those who missed a moment."""

import pytest

from palaver.hub import recent
from palaver.hub.recent import Pass, Recent


def held(*passes: Pass) -> Recent:
    made = Recent()
    for one in passes:
        made.keep(one)
    return made


A, B, C = Pass(1, 3, b"aaa"), Pass(4, 4, b"b"), Pass(5, 9, b"ccccc")


def test_passes_after_a_seq_come_in_order() -> None:
    assert held(A, B, C).after(0, 100) == [A, B, C]
    assert held(A, B, C).after(3, 100) == [B, C]
    assert held(A, B, C).after(9, 100) == []


def test_no_more_than_asked_for_and_only_whole_passes() -> None:
    assert held(A, B, C).after(0, 8) == [A, B]
    assert held(A, B, C).after(0, 2) == []


def test_nothing_where_no_pass_begins_right_after() -> None:
    assert held(A, B, C).after(2, 100) == []
    assert held(B, C).after(0, 100) == []


def test_a_gap_forgets_what_was_before_it() -> None:
    assert held(A, C).after(0, 100) == []
    assert held(A, C).after(4, 100) == [C]


def test_a_redaction_forgets_all() -> None:
    kept = held(A, B)
    kept.forget()
    assert kept.after(0, 100) == []
    kept.keep(C)
    assert kept.after(4, 100) == [C]


def test_old_passes_go_when_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "KEPT", 7)
    assert held(A, B, C).after(0, 100) == []
    assert held(A, B, C).after(3, 100) == [B, C]
