"""End signals: found anywhere, cut out."""

import pytest

from palaver.simulation import end_signals


@pytest.mark.parametrize("signal", end_signals.SIGNALS)
def test_every_signal_is_found_as_a_substring_and_cut_out(signal: str) -> None:
    assert end_signals.find(f"Thank you. {signal}") == end_signals.Found(signal, "Thank you.")
    assert end_signals.find(f"{signal.lower()}\nBye.") == end_signals.Found(signal, "Bye.")


def test_text_without_a_signal_is_left_alone() -> None:
    assert end_signals.find("The END of [the] story.") is None


def test_all_signals_go_and_the_first_one_counts() -> None:
    found = end_signals.find("a ###STOP### b [END] c [end]")
    assert found == end_signals.Found("###STOP###", "a b c")


def test_the_layout_of_the_rest_stays() -> None:
    found = end_signals.find("for x in y:\n    print(x)  # two  blanks\n[END]")
    assert found is not None and found.text == "for x in y:\n    print(x)  # two  blanks"


def test_signals_of_the_callers_own_replace_the_usual_ones_and_none_means_none() -> None:
    assert end_signals.find("over and out", ["over and out"]) == end_signals.Found("over and out", "")
    assert end_signals.find("[END]", ["over and out"]) is None
    assert end_signals.find("[END]", []) is None
