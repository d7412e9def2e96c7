"""One rollout: shapes, ends, failures, and who is asked what."""

import asyncio
import copy
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from palaver.models.model import Cancel, ChatMessage
from palaver.models.scripted import ScriptedModel
from palaver.simulation import ChatSimulator, RolloutError, SimulatedUser, UserModel
from palaver.simulation.talk import LimitOptions, Limits
from tests.patience import within
from tests.simulation.talks import ANSWER, QUESTION, SYSTEM, numbered, shape, simulator

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("prefix", "new"),
    [
        ([SYSTEM, QUESTION], "AUAUAUA"),
        ([SYSTEM, QUESTION, ANSWER], "UAUAUA"),
        ([SYSTEM], "UAUAUA"),
        ([], "UAUAUA"),
    ],
    ids=["ends with a user", "ends with an assistant", "system only", "empty"],
)
def test_three_turns_have_the_decided_shape_whatever_the_prefix_ends_with(prefix: list[ChatMessage], new: str) -> None:
    """A0.6, row 0.10."""
    before = copy.deepcopy(prefix)
    rollout = simulator().rollout(prefix, max_turns=3)
    assert shape(rollout.new) == new
    assert rollout[: len(prefix)] == rollout.prefix == prefix == before
    assert rollout[-1]["role"] == "assistant"
    assert rollout.termination_reason == "max_turns"
    assert len(rollout.user_turns) == 3


def test_the_prefix_belongs_to_the_caller() -> None:
    prefix = [copy.copy(QUESTION)]
    rollout = simulator().rollout(prefix, max_turns=1)
    rollout[0]["content"] = "changed"
    assert prefix == [QUESTION]


@pytest.mark.parametrize(("prefix", "new"), [([SYSTEM, QUESTION], "A"), ([QUESTION, ANSWER], ""), ([], "")])
def test_no_turns_answer_a_user_who_waits_and_nothing_more(prefix: list[ChatMessage], new: str) -> None:
    """A0.7."""
    assert shape(simulator().rollout(prefix, max_turns=0).new) == new


def test_negative_turns_are_refused() -> None:
    """A0.7."""
    with pytest.raises(ValueError, match="max_turns must be 0 or more, not -1"):
        simulator().rollout([QUESTION], max_turns=-1)


def test_the_assistant_may_be_told_to_begin() -> None:
    assert shape(simulator().rollout([SYSTEM], 1, start_with_assistant=True).new) == "AUA"


@pytest.mark.parametrize(
    ("message", "wrong"),
    [({"role": "tool", "content": "x"}, "'tool'"), ({"role": "user", "content": None}, "NoneType")],
)
def test_a_wrong_prefix_is_refused_by_the_number_of_its_message(message: ChatMessage, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"message 1 of the prefix .*{wrong}"):
        simulator().rollout([SYSTEM, message], 1)


@pytest.mark.parametrize("prefix", ["hello", QUESTION, [("user", "hello")]])
def test_what_is_no_list_of_messages_is_refused_with_a_word(prefix: Any) -> None:
    with pytest.raises(ValueError, match=r"prefix is .*not"):
        simulator().rollout(prefix, 1)


def test_the_user_sees_swapped_roles_and_its_own_instructions_only() -> None:
    """A0.5, row 0.14."""
    user = numbered("question")
    simulator(user).rollout([SYSTEM, QUESTION, ANSWER], 1)
    own, heard, said = user.prompts[0]
    assert own["role"] == "system" and SYSTEM["content"] not in own["content"]
    assert (heard, said) == (
        {"role": "assistant", "content": QUESTION["content"]},
        {"role": "user", "content": ANSWER["content"]},
    )


def test_the_assistant_sees_the_conversation_as_it_stands() -> None:
    assistant = numbered("answer")
    simulator(assistant=assistant).rollout([SYSTEM, QUESTION], 0)
    assert list(assistant.prompts) == [[SYSTEM, QUESTION]]


@pytest.mark.parametrize(
    "said",
    [
        "[END]",
        "  [end] ",
        '```json\n{"current_answer": "", "thought": "done", "response": "[END]"}\n```',
        "<think>shall I say [no]?</think>[[TERMINATE CHAT]]",
        "###STOP###",
    ],
)
def test_an_end_signal_stops_early_and_is_not_in_the_messages(said: str) -> None:
    """A0.10."""
    user = ScriptedModel(["Go on.", said])
    rollout = simulator(user).rollout([QUESTION], max_turns=5)
    assert shape(rollout) == "UAUA"
    assert (rollout.termination_reason, rollout.terminated_by_user) == ("user_stop", True)
    assert rollout.user_turns[-1].signal is not None
    assert rollout.user_turns[-1].raw == said


def test_words_beside_an_end_signal_are_kept_without_it() -> None:
    rollout = simulator(ScriptedModel(["Thanks, bye! [END]"])).rollout([QUESTION], 5)
    assert rollout[-1] == {"role": "user", "content": "Thanks, bye!"}
    assert rollout.terminated_by_user


def test_an_assistant_may_end_the_conversation_too() -> None:
    assistant = ScriptedModel(["Done. <|endconversation|>"])
    rollout = simulator(assistant=assistant).rollout([QUESTION], 5)
    assert rollout.new == [{"role": "assistant", "content": "Done."}]
    assert rollout.termination_reason == "assistant_stop"


def test_before_the_least_number_of_turns_an_end_signal_is_cut_out_and_not_obeyed() -> None:
    user = ScriptedModel(["Fine [END]", "[END]", "Really fine.", "Bye [END]"])
    rollout = simulator(user, min_turns=2).rollout([QUESTION], 5)
    assert [message["content"] for message in rollout.new if message["role"] == "user"] == [
        "Fine",
        "Really fine.",
        "Bye",
    ]
    assert [turn.attempts for turn in rollout.user_turns] == [1, 2, 1]
    assert rollout.terminated_by_user


def test_json_replies_are_taken_apart_and_bad_json_is_said_as_it_stands() -> None:
    """A0.10."""
    good = '```json\n{"current_answer": "42", "thought": "hm", "response": "Is it 42?"}\n```'
    bad = '```json\n{"response": "Is it\n```'
    rollout = simulator(ScriptedModel([good, bad])).rollout([], 2)
    assert [turn.text for turn in rollout.user_turns] == ["Is it 42?", bad]
    assert (rollout.user_turns[0].thought, rollout.user_turns[0].current_answer) == ("hm", "42")


def test_a_user_that_raises_gives_a_clear_error_and_the_transcript_so_far() -> None:
    """A0.11."""
    user = ScriptedModel(["And then?", RuntimeError("the endpoint is down")], name="gpt-x")
    with pytest.raises(RolloutError, match=r"\(user_error\): gpt-x: the endpoint is down") as caught:
        simulator(user).rollout([QUESTION], 5)
    assert shape(caught.value.rollout) == "UAUA"


def test_an_empty_user_turn_is_asked_for_once_more_then_an_error() -> None:
    """A0.11."""
    user = ScriptedModel(["", "Second try.", "", "   "])
    with pytest.raises(RolloutError, match="said nothing, twice") as caught:
        simulator(user).rollout([QUESTION], 5)
    rollout = caught.value.rollout
    assert shape(rollout) == "UAUA" and rollout[2]["content"] == "Second try."
    assert [(turn.text, turn.attempts) for turn in rollout.user_turns] == [("Second try.", 2), ("", 2)]
    assert rollout.termination_reason == "user_error"


def test_a_failing_assistant_is_an_agent_error_with_its_cause() -> None:
    class Broken:
        def generate(self, messages: list[dict[str, str]]) -> str:
            raise KeyError("weights")

    with pytest.raises(RolloutError, match=r"agent_error.*weights") as caught:
        ChatSimulator(Broken(), numbered("question")).rollout([QUESTION], 1)
    assert isinstance(caught.value.__cause__, KeyError)


def test_tolerated_errors_are_asked_again_until_there_are_too_many() -> None:
    def lines() -> list[str | Exception]:
        return ["one", ValueError("a"), "two", ValueError("b"), "three"]

    assert shape(simulator(ScriptedModel(lines()), max_errors=2).rollout([], 3)) == "UAUAUA"
    with pytest.raises(RolloutError, match="too_many_errors"):
        simulator(ScriptedModel(lines()), max_errors=1).rollout([], 3)


def test_an_overlong_context_has_a_reason_of_its_own() -> None:
    refusal = RuntimeError("400: This model's maximum context length is 8192 tokens")
    with pytest.raises(RolloutError) as caught:
        simulator(assistant=ScriptedModel([refusal]), max_errors=5).rollout([QUESTION], 1)
    assert caught.value.rollout.termination_reason == "context_window_exceeded"


def test_the_token_budget_ends_a_conversation_in_order() -> None:
    rollout = simulator(token_budget=20).rollout([QUESTION], 50)
    assert rollout.termination_reason == "budget" and not rollout.failed
    assert 20 <= rollout.tokens < 200
    assert rollout.usage["assistant"].completion_tokens > 0


def test_the_same_exchange_again_and_again_is_stale() -> None:
    user, assistant = ScriptedModel(["Why?"], cycle=True), ScriptedModel(["Because."], cycle=True)
    rollout = simulator(user, assistant, stale_after=3).rollout([], 50)
    assert rollout.termination_reason == "stale" and shape(rollout) == "UAUAUA"


async def test_time_runs_out_and_what_was_said_stays() -> None:
    user = ScriptedModel(["one", "two"], hang=True)
    rollout = await simulator(user, timeout=0.05).rollout_async([QUESTION], 5)
    assert rollout.termination_reason == "timeout" and shape(rollout) == "UA"


async def test_a_moderator_stops_it() -> None:
    cancel = Cancel()

    def script(prompt: Sequence[ChatMessage]) -> str:
        if len(prompt) > 3:
            cancel.press("enough of this")
        return "well"

    rollout = await simulator(ScriptedModel(script)).rollout_async([QUESTION], 50, cancel=cancel)
    assert rollout.termination_reason == "moderator_stop" and rollout.error == "enough of this"
    assert len(rollout) < 10


def test_a_user_model_without_generate_cannot_be_made() -> None:
    """A0.9."""

    class Silent(UserModel):
        pass

    with pytest.raises(TypeError, match="generate"):
        Silent()  # type: ignore[abstract]


def test_a_user_model_of_the_callers_own_is_used() -> None:
    """A0.9, row 0.13."""

    class Echo(UserModel):
        def __init__(self) -> None:
            super().__init__("You echo.")

        def generate(self, messages: list[dict[str, str]]) -> str:
            prompt = self._prepare_messages_for_user_perspective(messages)
            assert prompt[0] == {"role": "system", "content": "You echo."}
            return f"you said {prompt[-1]['content']}"

    rollout = ChatSimulator(numbered("answer"), Echo()).rollout([QUESTION], 1)
    assert rollout[2]["content"] == "you said answer 1"


async def test_an_asynchronous_generate_is_awaited_and_a_synchronous_one_blocks_nobody() -> None:
    class Slow:
        async def generate(self, messages: list[dict[str, str]]) -> str:
            await asyncio.sleep(0)
            return "later"

    class Counting:
        def generate(self, messages: list[dict[str, str]]) -> str:
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            return str(len(messages))

    rollout = await ChatSimulator(Counting(), Slow()).rollout_async([], 2)
    assert [message["content"] for message in rollout] == ["later", "1", "later", "3"]


def test_a_generate_that_runs_out_of_replies_hangs_nobody() -> None:
    class Reading:
        lines = iter(["only this"])

        def generate(self, messages: list[dict[str, str]]) -> str:
            return next(self.lines)

    with pytest.raises(RolloutError, match=r"user_error\): Reading: generate ran out of replies") as raised:
        simulator(Reading()).rollout([], 2)
    assert shape(raised.value.rollout) == "UA"


def test_what_generate_gives_must_be_text() -> None:
    class Counting:
        def generate(self, messages: list[dict[str, str]]) -> int:
            return len(messages)

    with pytest.raises(RolloutError, match="Counting: generate gave int, not text"):
        simulator(Counting()).rollout([], 1)


def test_an_exit_within_generate_reaches_the_caller_and_later_calls_are_answered() -> None:
    class Leaving:
        def generate(self, messages: list[dict[str, str]]) -> str:
            raise SystemExit("no key")

    with pytest.raises(SystemExit, match="no key"):
        simulator(Leaving()).rollout([], 1)
    assert shape(simulator().rollout([], 1)) == "UA"


@pytest.mark.system
def test_a_generate_that_hangs_keeps_no_process_from_ending() -> None:
    script = """
import threading
from palaver.models.scripted import ScriptedModel
from palaver.simulation import ChatSimulator

class Hanging:
    def generate(self, messages):
        print("hangs", flush=True)
        threading.Event().wait()

ChatSimulator(ScriptedModel([]), Hanging()).rollout([], 1)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None and process.stdout.readline() == b"hangs\n"
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(within(20)) != 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("limits", "wrong"),
    [
        ({"end_signals": "[END]"}, r"end_signals is a list of texts: \['\[END\]'\]"),
        ({"timeout": -1}, "timeout must be 0 or more, not -1"),
        ({"token_budget": -5}, "token_budget must be 0 or more, not -5"),
        ({"stale_after": 1}, "stale_after must be 2 or more"),
    ],
)
def test_limits_that_cannot_be_are_refused(limits: Any, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        simulator(**limits)


def test_no_time_limit_is_said_by_nought_or_none() -> None:
    for timeout in (0, None):
        assert simulator(timeout=timeout).rollout([QUESTION], 1).termination_reason == "max_turns"


def test_every_limit_may_be_given_by_its_name() -> None:
    assert set(LimitOptions.__annotations__) == {each.name for each in fields(Limits)}


def test_what_overrides_generate_alone_is_heard() -> None:
    class Prefixed(SimulatedUser):
        def generate(self, messages: list[dict[str, str]]) -> str:
            return f"Prefixed: {super().generate(messages)}"

    rollout = ChatSimulator(numbered("answer"), Prefixed(numbered("question"))).rollout([], 1)
    assert rollout[0]["content"] == "Prefixed: question 1"


def test_an_object_that_cannot_speak_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="object cannot speak"):
        ChatSimulator(object(), numbered("question"))


def test_one_seed_gives_one_conversation_and_every_reply_its_own() -> None:
    seeds: list[int | None] = []

    class Seeded(ScriptedModel):
        async def complete(self, *args: object, **settings: object) -> object:  # type: ignore[override]
            seeds.append(settings["seed"])  # type: ignore[arg-type]
            return await super().complete(*args, **settings)  # type: ignore[arg-type]

    runs = []
    for _ in range(2):
        seeds.clear()
        rollout = simulator(Seeded(["one", "two"])).rollout([], 2, seed=7)
        runs.append(list(seeds))
        assert rollout.seed == 7
    assert runs[0] == runs[1] and len(set(runs[0])) == 2
