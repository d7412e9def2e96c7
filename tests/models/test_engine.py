"""The engine's thread: batches, caches over turns, cancelling while a prompt is read, closing."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from palaver.core.message import Message
from palaver.core.prompt import seen_by
from palaver.models.engine.request import Outcome, Request
from palaver.models.engine.runners import Work
from palaver.models.engine.sampling import Sampling
from palaver.models.hf import HFModel, LocalWeights, load
from palaver.models.model import Cancel, ChatMessage, LLMResponse
from tests.models.tiny_llama import greedy, save_tiny_llama

GREEDY = Sampling(temperature=0.0)
SYSTEM: ChatMessage = {"role": "system", "content": "You are Zen Sage, and you answer in one sentence."}


def asked(text: str) -> list[ChatMessage]:
    return [SYSTEM, {"role": "user", "content": text}]


def outcome_of(weights: LocalWeights, **settings: object) -> Outcome:
    """Submit a request from this thread and wait for its outcome."""
    done = threading.Event()
    heard: list[Outcome] = []

    def on_done(outcome: Outcome) -> None:
        heard.append(outcome)
        done.set()

    weights.engine.submit(Request(on_done=on_done, **settings))  # type: ignore[arg-type]  # by name
    assert done.wait(30)
    return heard[0]


class PressedAfter(Cancel):
    """Pressed by itself once it was looked at so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.left = looks

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


async def test_replies_due_together_are_decoded_together_with_settings_of_their_own(weights: LocalWeights) -> None:
    model = HFModel(weights)
    lengths = (5, 40, 21)
    replies = await asyncio.gather(
        *(
            model.complete(asked(f"number {count}"), max_tokens=count, temperature=1.5 * (count % 2), seed=count)
            for count in lengths
        )
    )
    assert max(reply.provenance["batch"] for reply in replies) > 1
    for reply, count in zip(replies, lengths, strict=True):
        assert reply.success and reply.usage.completion_tokens <= count


async def test_a_seed_gives_the_same_reply_alone_and_in_any_batch(weights: LocalWeights) -> None:
    model = HFModel(weights)

    async def reply(seed: int) -> str:
        return (await model.complete(asked(f"seed {seed}"), temperature=1.2, seed=seed, max_tokens=24)).content

    alone = [await reply(seed) for seed in range(5)]
    assert await asyncio.gather(*map(reply, range(5))) == alone
    assert (await asyncio.gather(*map(reply, range(3)))) == alone[:3]
    assert len(set(alone)) == 5


async def test_a_request_that_comes_later_joins_a_batch_that_is_running(weights: LocalWeights) -> None:
    model, began, cancel = HFModel(weights, top_k=50), asyncio.Event(), Cancel()
    long = asyncio.create_task(
        model.complete(
            asked("talk"), max_tokens=1800, temperature=3.0, seed=2, on_text=lambda _: began.set(), cancel=cancel
        )
    )
    await began.wait()
    short = await model.complete(asked("short"), max_tokens=4, temperature=0)
    assert not long.done()
    cancel.press()
    assert short.provenance["batch"] == 2
    assert (await long).stop_reason == "cancelled"


async def test_a_stop_string_of_one_reply_does_not_end_the_others(weights: LocalWeights) -> None:
    model = HFModel(weights)
    whole = (await model.complete(asked("stop"), temperature=0, max_tokens=30)).content
    stop = whole[4:6]
    one, other = await asyncio.gather(
        model.complete(asked("stop"), temperature=0, max_tokens=30, stop=[stop]),
        model.complete(asked("stop"), temperature=0, max_tokens=30),
    )
    assert one.stop_reason == "stop" and one.provenance["stopped_by"] == stop
    assert one.content == whole[: whole.index(stop)].rstrip()
    assert other.content == whole


def test_a_cancel_while_the_prompt_is_read_ends_it_before_any_token(weights: LocalWeights) -> None:
    steps = weights.engine.steps
    outcome = outcome_of(
        weights, tokens=[7 + place % 400 for place in range(1500)], max_tokens=9, cancel=PressedAfter(6)
    )
    assert outcome.stop_reason == "cancelled"
    assert outcome.usage.completion_tokens == 0 and outcome.text == ""
    assert weights.engine.steps - steps < 12


def test_a_request_cancelled_in_the_queue_is_never_computed(weights: LocalWeights) -> None:
    cancel = Cancel()
    cancel.press()
    steps = weights.engine.steps
    outcome = outcome_of(weights, tokens=[5, 6, 7], max_tokens=9, cancel=cancel)
    assert outcome.stop_reason == "cancelled" and weights.engine.steps == steps


async def test_a_turn_computes_only_what_is_new(weights: LocalWeights) -> None:
    model = HFModel(weights)
    talk = asked("a first question that is long enough to be worth keeping")
    first = await model.complete(talk, max_tokens=5, temperature=0, cache_key="only new")
    talk += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Why?"}]
    second = await model.complete(talk, max_tokens=5, temperature=0, cache_key="only new")
    assert first.usage.reused_tokens == 0 or first.usage.reused_tokens < first.usage.prompt_tokens
    assert second.usage.reused_tokens >= first.usage.prompt_tokens
    assert second.usage.prompt_tokens - second.usage.reused_tokens < 40


async def test_conversations_that_share_a_long_beginning_compute_it_once(weights: LocalWeights) -> None:
    model, common = HFModel(weights), "the same long introduction for everybody " * 8
    await model.complete(asked(common), max_tokens=2, cache_key="shared one")
    other = await model.complete(asked(common + "but another end"), max_tokens=2, cache_key="shared two")
    assert other.usage.reused_tokens > 64


Change = Callable[[list[ChatMessage], str], None]


def _say(talk: list[ChatMessage], text: str) -> None:
    talk += [{"role": "assistant", "content": text[::-1]}, {"role": "user", "content": text}]


def _redact(talk: list[ChatMessage], text: str) -> None:
    if len(talk) > 3:
        del talk[1 + len(text) % (len(talk) - 2)]


def _trim(talk: list[ChatMessage], text: str) -> None:
    del talk[1 : max(1, len(talk) - 1 - len(text) % 4)]


def _change_personality(talk: list[ChatMessage], text: str) -> None:
    talk[0] = {"role": "system", "content": f"You are {text}."}


def _take_back(talk: list[ChatMessage], text: str) -> None:
    talk[-1] = {"role": "user", "content": f"{text}?"}


CHANGES: list[Change] = [_say, _say, _redact, _trim, _change_personality, _take_back]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(CHANGES), st.text(alphabet="tea and<|m_d>é", min_size=1, max_size=30)), max_size=6
    ),
    st.integers(0, 1000),
)
def test_greedy_replies_from_the_cache_are_those_of_a_full_computation(
    reference: "Reference", changes: list[tuple[Change, str]], number: int
) -> None:
    """History grows, is redacted, trimmed and overflows, the personality changes; three prefixes share the cache."""
    talk = asked("tea?")
    for change, text in [(_say, "start"), *changes]:
        change(talk, text)
        reference.compare(talk, cache_key=f"property {number % 3}")


NAMES = ("Ada", "Sage", "Tinker")
EVENTS = st.one_of(
    st.tuples(st.just("say"), st.sampled_from(NAMES), st.none() | st.sampled_from(NAMES)),
    st.tuples(st.just("redact"), st.integers(0, 9), st.none()),
    st.tuples(st.just("persona"), st.sampled_from(NAMES[1:]), st.none()),
)
WORDS = st.text(alphabet="tea and<|m_d>é", min_size=1, max_size=20)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.tuples(EVENTS, WORDS), min_size=1, max_size=5))
def test_rooms_with_whispers_redactions_and_new_personas_are_answered_as_by_a_full_computation(
    reference: "Reference", events: list[tuple[tuple[str, Any, str | None], str]]
) -> None:
    """Two personas on one set of weights, each with its own view of the room and its own cache."""
    room: list[Message] = []
    personas = dict.fromkeys(NAMES[1:], "You talk.")
    for (kind, which, to), text in [(("say", "Ada", None), "tea?"), *events]:
        match kind:
            case "say":
                said = {"sender": which, "to": None if to == which else to, "content": text}
                room.append(Message(room="main", seq=len(room) + 1, id="", role="model", timestamp="", **said))
            case "redact":
                room = [msgspec.structs.replace(each, redacted="x") if each.seq == which + 1 else each for each in room]
            case "persona":
                personas[which] = f"You are {text}."
        for name, persona in personas.items():
            prompt = seen_by(name, room, persona=persona, history=5, names=NAMES)
            if prompt.messages[-1]["role"] == "user":
                reference.compare(cast(list[ChatMessage], prompt.messages), cache_key=name)


class Reference:
    """The engine beside transformers itself, over one tiny model with a short context."""

    def __init__(self, folder: Path) -> None:
        self.weights = load(str(folder), threads=1, cache_bytes=200_000)
        self.plain = AutoModelForCausalLM.from_pretrained(folder)

    def compare(self, talk: list[ChatMessage], cache_key: str) -> None:
        """Assert that both continue `talk` with the same tokens."""
        tokens = self.weights.prompter.build(talk, max_tokens=6).tokens
        outcome = outcome_of(self.weights, tokens=tokens, max_tokens=6, cache_key=cache_key, sampling=GREEDY)
        assert outcome.tokens == greedy(self.plain, tokens, 6, ends=(0, 3))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return Reference(save_tiny_llama(tmp_path_factory.mktemp("short"), context=160))


async def test_caches_stay_within_their_bytes(tiny_llama: Path) -> None:
    weights = await asyncio.to_thread(load, str(tiny_llama), threads=1, cache_bytes=400_000)
    model = HFModel(weights)
    for number in range(12):
        await model.complete(asked("word " * 50), max_tokens=2, cache_key=f"member {number}")
        assert weights.engine.rows.nbytes <= 400_000
    assert 1 <= len(weights.engine.rows) < 12
    weights.close()


async def test_replies_without_room_on_the_card_wait_and_go_on_with_the_words_they_have(
    weights: LocalWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = HFModel(weights)
    forward = weights.engine.runner.forward
    failures = 0

    def crowded(work: Sequence[Work], check: Callable[[], None]) -> torch.Tensor:
        nonlocal failures
        if sum(len(piece.row.tokens) + len(piece.tokens) for piece in work) > 150:
            failures += 1
            raise torch.cuda.OutOfMemoryError("tried to allocate 2.00 GiB")
        return forward(work, check)

    async def reply(number: int, tokens: int = 30) -> LLMResponse:
        return await model.complete(asked(f"tell {number}"), temperature=0.9, seed=number, max_tokens=tokens)

    expected = [(await reply(number)).content for number in range(6)]
    weights.engine.rows.clear()
    monkeypatch.setattr(weights.engine.runner, "forward", crowded)
    replies = await asyncio.gather(*map(reply, range(6)))
    assert failures
    assert [each.content for each in replies] == expected
    too_long = await model.complete(asked("word " * 200), max_tokens=5)
    assert not too_long.success and "out of memory on cpu" in str(too_long.error)
    assert (await reply(7)).success


async def test_closing_ends_replies_and_refuses_new_ones(tiny_llama: Path) -> None:
    model, began = await HFModel.open(str(tiny_llama), threads=1), asyncio.Event()
    talking = asyncio.create_task(
        model.complete(asked("talk"), max_tokens=1800, temperature=3.0, seed=2, on_text=lambda _: began.set())
    )
    await began.wait()
    await model.close()
    assert (await talking).stop_reason == "cancelled"
    late = await model.complete(asked("late"))
    assert not late.success and "closed" in (late.error or "")


async def test_memory_stays_flat_over_many_turns(weights: LocalWeights) -> None:
    model, talk, sizes = HFModel(weights), asked("tea?"), []
    for turn in range(60):
        talk = [*talk[:1], *talk[1:][-6:], {"role": "user", "content": f"turn {turn} of many"}]
        await model.complete(talk, max_tokens=3, cache_key="flat")
        sizes.append(weights.engine.rows.nbytes)
    assert sizes[-1] == sizes[20]
