"""A person in either chair."""

import io
import sys
from collections.abc import Callable, Sequence

import pytest

from palaver.models.scripted import ScriptedModel
from tests.simulation.talks import QUESTION, SYSTEM, shape, simulator


def typing(*lines: str) -> Callable[[str], str]:
    """What `input` would give; the end of the input after the last line."""
    left = list(lines)

    def ask(prompt: str) -> str:
        if not left:
            raise EOFError
        return left.pop(0)

    return ask


def test_enter_generates_text_is_said_instead_and_quit_stops() -> None:
    """A0.8, row 0.12."""
    told: list[str] = []
    rollout = simulator().interactive_rollout(
        [SYSTEM, QUESTION], max_turns=5, ask=typing("", "mine", "/quit"), tell=told.append
    )
    assert [message["content"] for message in rollout.new] == ["answer 1", "mine"]
    assert shape(rollout.new) == "AU"
    assert rollout.termination_reason == "moderator_stop"
    assert "assistant: answer 1" in told


def test_real_standard_input_works_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A0.8."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("\nmine\n/quit\n"))
    rollout = simulator().interactive_rollout([QUESTION], max_turns=5)
    assert shape(rollout) == "UAU"
    assert "assistant: answer 1" in capsys.readouterr().out


@pytest.mark.parametrize("ending", [EOFError, KeyboardInterrupt])
def test_the_end_of_the_input_and_control_c_end_cleanly(ending: type[BaseException]) -> None:
    """A0.8."""

    def ask(prompt: str) -> str:
        raise ending

    rollout = simulator().interactive_rollout([QUESTION], max_turns=5, ask=ask, tell=lambda _: None)
    assert list(rollout) == [QUESTION] and rollout.termination_reason == "moderator_stop"


def test_it_ends_on_the_assistants_answer_after_the_last_turn() -> None:
    rollout = simulator().interactive_rollout([], 2, ask=typing(*[""] * 9), tell=lambda _: None)
    assert shape(rollout) == "UAUA" and rollout.termination_reason == "max_turns"


def test_a_model_that_fails_is_reported_and_the_turn_asked_for_again() -> None:
    told: list[str] = []
    assistant = ScriptedModel([RuntimeError("no memory"), "better"])
    rollout = simulator(assistant=assistant).interactive_rollout([QUESTION], 0, ask=typing("", ""), tell=told.append)
    assert shape(rollout) == "UA" and rollout.error is None
    assert any("no memory" in line for line in told)


def test_long_prefixes_are_shown_in_short_and_control_characters_not_at_all() -> None:
    told: list[str] = []
    prefix = [{"role": "user", "content": "\x1b[2J" + "x" * 300}]
    simulator().interactive_rollout(prefix, 1, ask=typing(), tell=told.append)
    shown = next(line for line in told if line.startswith("user: "))
    assert len(shown) < 220 and shown.endswith("...") and "\x1b" not in shown


def test_negative_turns_are_refused() -> None:
    def unused(lines: Sequence[str] = ()) -> None:
        raise AssertionError(lines)

    with pytest.raises(ValueError, match="-2"):
        simulator().interactive_rollout([], -2, tell=unused)
