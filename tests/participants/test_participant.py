"""A model's seat, against a hub that does what the test says and against the real one."""

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from palaver.core.errors import AccessDenied
from palaver.core.policies import POLICIES
from palaver.core.protocol import (
    Ack,
    Cancelled,
    Close,
    Delta,
    Event,
    Join,
    Nack,
    Pass,
    Revoke,
    Say,
    Status,
)
from palaver.models.model import Cancel, ChatMessage, LLMResponse
from palaver.models.scripted import ScriptedModel
from palaver.participants.link import Link
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings
from tests.hubs import joined, running
from tests.participants.fake_hub import FakeHub, Seated, fake_hub, floor_view, grant, message


@asynccontextmanager
async def sitting(
    url: str, model: Any, settings: Settings | None = None, *, name: str = "Bot", **options: Any
) -> AsyncIterator[Participant]:
    """A participant that takes part until the block ends."""
    join = Join(name=name, role="model", deltas=False, ready=model is not None)
    async with Link(url, join, wait=lambda attempt: 0.0) as link:
        participant = Participant(link, settings or Settings(), model, **options)
        running_ = asyncio.create_task(participant.run())
        try:
            yield participant
        finally:
            await link.close()
            await running_


@asynccontextmanager
async def seat_of(model: Any, settings: Settings | None = None, **options: Any) -> AsyncIterator[Seated]:
    """The fake hub's side of a participant that was welcomed."""
    async with fake_hub() as hub, sitting(hub.url, model, settings, **options):
        seated = await hub.joined()
        await seated.welcome()
        yield seated
        seated.drop()


async def given_floor(seated: Seated, turn: int, *words: str, start: int = 1, **fields: Any) -> None:
    """Say words, then give the floor."""
    said = [message(seq, text) for seq, text in enumerate(words, start)]
    await seated.send(*said, grant(turn, context=len(said), **fields))


def last_prompt(model: ScriptedModel) -> list[tuple[str, str]]:
    return [(each["role"], each["content"]) for each in model.prompts[-1]]


# --- speaking ---------------------------------------------------------------------------------------------------------


async def test_a_grant_is_answered_with_one_message_under_its_turn_and_its_meta() -> None:
    """A2.13: the personality once, the current message once, speakers by name."""
    model = ScriptedModel(["Bot: a stone\nAda: is it?"])
    async with seat_of(model, Settings(persona="You are Bot.")) as seated:
        await given_floor(seated, 7, "what is this?")
        said = await seated.receive_a(Say)
        assert (said.content, said.turn) == ("a stone", 7)
        assert said.meta["spoke_for_other"] == 1
        assert (said.meta["saw_from"], said.meta["saw_to"], said.meta["backend"]) == (1, 1, "scripted")
        assert last_prompt(model) == [("system", "You are Bot."), ("user", "Ada: what is this?")]


async def test_history_is_bounded_and_the_question_kept() -> None:
    """A2.14"""
    model = ScriptedModel(["yes"])
    async with seat_of(model, Settings(history=3)) as seated:
        await given_floor(seated, 1, *[f"word {number}" for number in range(10)])
        said = await seated.receive_a(Say)
        assert last_prompt(model) == [("user", "Ada: word 7\nAda: word 8\nAda: word 9")]
        assert (said.meta["saw_from"], said.meta["trimmed"]) == (8, 7)


async def test_context_tokens_are_respected_from_the_oldest() -> None:
    """A2.14"""
    model = ScriptedModel(["yes"])
    async with seat_of(model, Settings(history=0, context_tokens=400, max_tokens=100)) as seated:
        await given_floor(seated, 1, *["x" * 400] * 5, "and the question?")
        said = await seated.receive_a(Say)
        assert last_prompt(model)[-1][1].endswith("Ada: and the question?")
        assert said.meta["trimmed"] == 4


async def test_what_comes_during_the_delay_is_taken_into_one_reply() -> None:
    """A2.15: it listens while it waits."""
    model = ScriptedModel(["all at once"])
    async with seat_of(model, Settings(delay=0.2)) as seated:
        await seated.send(message(1, "one"), grant(1, context=1), message(2, "two"), message(3, "three"))
        said = await seated.receive_a(Say)
        assert said.meta["saw_to"] == 3
        assert last_prompt(model) == [("user", "Ada: one\nAda: two\nAda: three")]


async def test_replies_are_as_far_apart_as_the_delay_says() -> None:
    """A2.15"""
    loop = asyncio.get_running_loop()
    async with seat_of(ScriptedModel(["a", "b", "c"]), Settings(delay=0.15)) as seated:
        times = []
        for turn in (1, 2, 3):
            await given_floor(seated, turn, f"go {turn}", start=turn)
            said = await seated.receive_a(Say)
            await seated.send(Ack(id=said.id, seq=100 + turn))
            times.append(loop.time())
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.14


async def test_the_same_grant_told_twice_is_answered_once() -> None:
    gate = asyncio.Event()
    async with seat_of(Slow(["on", "ce"], gate)) as seated:
        await given_floor(seated, 1, "go")
        await seated.receive_a(Delta)
        await seated.send(grant(1, context=1), Revoke(turn=99, epoch=1, reason="a sign that the grant was read"))
        assert await seated.receive() == Cancelled(turn=99)
        gate.set()
        while isinstance(said := await seated.receive(), Delta):
            pass
        assert isinstance(said, Say) and said.turn == 1
        await seated.send(Ack(id=said.id, seq=2), grant(1, context=1), grant(2, context=1))
        while isinstance(said := await seated.receive(), Delta):
            pass
        assert isinstance(said, Say) and said.turn == 2


async def test_messages_that_a_grant_overtook_are_waited_for() -> None:
    async with seat_of(ScriptedModel(["both"])) as seated:
        await seated.send(message(1), grant(1, context=2))
        await seated.send(Revoke(turn=99, epoch=1, reason="a sign that the grant was read"))
        assert await seated.receive() == Cancelled(turn=99)
        await seated.send(message(2))
        assert (await seated.receive_a(Say)).meta["saw_to"] == 2


async def test_text_is_streamed_before_the_message_and_never_past_a_foreign_label() -> None:
    gate = asyncio.Event()
    async with seat_of(Slow(["I think ", "so.", "\n", "Ada:", " me too"], gate)) as seated:
        await given_floor(seated, 1, "and?")
        first = await seated.receive()
        assert first == Delta(turn=1, text="I think")
        gate.set()
        streamed = first.text
        while isinstance(frame := await seated.receive(), Delta):
            streamed += frame.text
        assert isinstance(frame, Say) and frame.content == "I think so."
        assert frame.content.startswith(streamed)


async def test_a_stream_of_tokens_is_gathered_into_few_frames() -> None:
    loop = asyncio.get_running_loop()

    class Dribble(ScriptedModel):
        seconds = 0.0

        async def complete(self, *arguments: Any, **options: Any) -> LLMResponse:
            started = loop.time()
            for _ in range(100):
                options["on_text"]("word ")
                await asyncio.sleep(0.002)
            self.seconds = loop.time() - started
            return LLMResponse("word " * 100, 0, 0.0, self.name, True)

    model = Dribble([])
    async with seat_of(model) as seated:
        await given_floor(seated, 1, "go")
        frames = []
        while isinstance(frame := await seated.receive(), Delta):
            frames.append(frame)
        assert isinstance(frame, Say) and 2 <= len(frames) <= model.seconds / 0.05 + 2


async def test_a_selector_answers_with_a_name_and_streams_nothing() -> None:
    model = ScriptedModel(["Zen Sage"])
    async with seat_of(model) as seated:
        await given_floor(seated, 3, "who?", purpose="select", choices=("Zen Sage", "Tinker"))
        said = await seated.receive()
        assert isinstance(said, Say) and (said.content, said.turn) == ("Zen Sage", 3)
        assert "exactly one name of: Zen Sage, Tinker" in last_prompt(model)[-1][1]


async def test_a_room_where_nobody_spoke_is_opened() -> None:
    model = ScriptedModel(["hello?"])
    async with seat_of(model, Settings(persona="P")) as seated:
        await seated.send(grant(1))
        await seated.receive_a(Say)
        assert [role for role, _ in last_prompt(model)] == ["system", "user"]


async def test_a_seed_makes_each_reply_drawn_with_its_own() -> None:
    async with seat_of(ScriptedModel(["a", "b"]), Settings(seed=10)) as seated:
        seeds = []
        for turn in (1, 2):
            await given_floor(seated, turn, "go", start=turn)
            said = await seated.receive_a(Say)
            await seated.send(Ack(id=said.id, seq=50 + turn))
            seeds.append(said.meta["seed"])
        assert seeds == [10, 11]


# --- silence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"stop_reason": "length"}, "no token left for an answer"),
        ({"tool_calls": [{"id": "c1"}]}, "called a tool"),
        ({}, "said nothing"),
    ],
)
async def test_an_empty_reply_tells_what_became_of_it(told: dict[str, Any], reason: str) -> None:
    """A model that thinks first may have no token left for an answer."""

    class Silent(ScriptedModel):
        async def complete(self, messages: Sequence[ChatMessage], **options: Any) -> LLMResponse:
            return LLMResponse("", 100, 1.0, self.name, True, **told)

    async with seat_of(Silent(["-"])) as seated:
        await given_floor(seated, 4, "anything?")
        passed = await seated.receive()
        assert isinstance(passed, Pass) and not passed.failed
        assert reason in passed.reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [("[PASS]", "chose silence"), ("/pass", "chose silence"), ("   ", "said nothing"), ("Ada: no", "only other")],
)
async def test_silence_is_passed_with_its_reason(line: str, reason: str) -> None:
    async with seat_of(ScriptedModel([line])) as seated:
        await given_floor(seated, 4, "anything?")
        passed = await seated.receive()
        assert isinstance(passed, Pass) and (passed.turn, passed.failed) == (4, False)
        assert reason in passed.reason


async def test_a_model_that_fails_is_passed_as_a_failure_with_the_reason() -> None:
    async with seat_of(ScriptedModel([RuntimeError("the card is on fire"), "fine again"])) as seated:
        await given_floor(seated, 1, "go")
        passed = await seated.receive()
        assert isinstance(passed, Pass)
        assert (passed.turn, passed.reason, passed.failed) == (1, "the card is on fire", True)
        assert passed.meta is not None and passed.meta["request_hash"]
        await given_floor(seated, 2, "and now?", start=2)
        assert (await seated.receive_a(Say)).content == "fine again"


async def test_a_backend_that_breaks_is_passed_as_a_failure_too(caplog: pytest.LogCaptureFixture) -> None:
    def broken(messages: Sequence[ChatMessage]) -> str:
        raise KeyError("tokenizer")

    async with seat_of(ScriptedModel(broken)) as seated:
        await given_floor(seated, 1, "go")
        passed = await seated.receive()
        assert passed.failed and "KeyError: 'tokenizer'" in passed.reason
    assert "Traceback" in caplog.text


async def test_a_refused_message_is_told_and_the_next_turn_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with seat_of(ScriptedModel(["late", "in time"])) as seated:
        await given_floor(seated, 1, "go")
        said = await seated.receive_a(Say)
        await seated.send(Nack(id=said.id, code="stale_epoch", reason="turn 1 is over"))
        await given_floor(seated, 2, "again", start=2)
        assert (await seated.receive_a(Say)).content == "in time"
    assert "was not heard: turn 1 is over" in caplog.text


async def test_a_message_is_offered_again_while_the_log_is_unavailable() -> None:
    async with seat_of(ScriptedModel(["patience"])) as seated:
        await given_floor(seated, 1, "go")
        first = await seated.receive_a(Say)
        for _ in range(8):
            await seated.send(Nack(id=first.id, code="unavailable", reason="disk full", retry_after=0.01))
            again = await seated.receive_a(Say)
            assert (again.content, again.turn) == ("patience", 1) and again.id != first.id
            first = again


# --- being stopped ----------------------------------------------------------------------------------------------------


class Slow:
    """Writes its pieces, the first at once, the rest when the gate is open; or never, whatever anybody presses."""

    name = "slow"

    def __init__(self, pieces: Sequence[str], gate: asyncio.Event, *, deaf: bool = False) -> None:
        self.pieces = pieces
        self.gate = gate
        self.deaf = deaf
        self.calls = 0

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        on_text: Callable[[str], None] | None = None,
        cancel: Cancel | None = None,
        **options: Any,
    ) -> LLMResponse:
        self.calls += 1
        if cancel is not None and not self.deaf:
            cancel.on_press(self.gate.set)  # these tests press in the loop's own thread
        said = ""
        for number, piece in enumerate(self.pieces):
            if number == 1:
                await self.gate.wait()
                if cancel is not None and cancel.is_set():
                    return LLMResponse(said, 0, 0.0, self.name, True, stop_reason="cancelled")
            said += piece
            if on_text is not None:
                on_text(piece)
        return LLMResponse(said, 0, 0.0, self.name, True)

    async def close(self) -> None:
        pass


async def test_a_revoke_stops_generation_at_once_and_is_answered() -> None:
    ticks = iter([10.0, 10.25])
    model = Slow(["half a ", "thought"], asyncio.Event())
    async with seat_of(model, clock=lambda: next(ticks)) as seated:
        await given_floor(seated, 5, "go")
        await seated.receive_a(Delta)
        await seated.send(Revoke(turn=5, epoch=2, reason="paused"))
        assert await seated.receive() == Cancelled(turn=5, latency=0.25, content="half a ")


async def test_a_revoke_ends_the_delay() -> None:
    async with seat_of(ScriptedModel(["never"]), Settings(delay=3600)) as seated:
        await seated.send(message(1), grant(5, context=1), Revoke(turn=5, epoch=2, reason="paused"))
        cancelled = await seated.receive()
        assert isinstance(cancelled, Cancelled) and cancelled.latency < 1


async def test_a_revoke_of_a_turn_that_is_over_is_answered_too() -> None:
    async with seat_of(ScriptedModel(["said"])) as seated:
        await given_floor(seated, 1, "go")
        said = await seated.receive_a(Say)
        await seated.send(Revoke(turn=1, epoch=2, reason="paused"))
        assert await seated.receive() == Cancelled(turn=1)
        await seated.send(Nack(id=said.id, code="paused", reason="the room is paused"))


async def test_a_floor_without_its_turn_stops_it() -> None:
    async with seat_of(Slow(["half ", "done"], asyncio.Event())) as seated:
        await given_floor(seated, 1, "go")
        await seated.receive_a(Delta)
        await seated.send(floor_view(holder="Bot", turn=1), floor_view())
        assert isinstance(await seated.receive(), Cancelled)
        await seated.send(grant(2, context=1))
        assert (await seated.receive_a(Say)).turn == 2


async def test_a_turn_waits_until_the_generation_before_it_has_ended() -> None:
    gate = asyncio.Event()
    model = Slow(["half ", "done"], gate, deaf=True)
    async with seat_of(model) as seated:
        await given_floor(seated, 1, "go")
        await seated.receive_a(Delta)
        await seated.send(grant(2, context=1), Revoke(turn=99, epoch=1, reason="a sign that the grant was read"))
        assert await seated.receive() == Cancelled(turn=99)
        assert model.calls == 1
        gate.set()
        assert isinstance(await seated.receive(), Cancelled)
        assert (await seated.receive_a(Say)).turn == 2 and model.calls == 2


async def test_leaving_in_the_middle_of_a_reply_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async with seat_of(Slow(["half ", "done"], asyncio.Event(), deaf=True)) as seated:
        await given_floor(seated, 1, "go")
        await seated.receive_a(Delta)
        await seated.send(Revoke(turn=1, epoch=2, reason="paused"), Revoke(turn=99, epoch=1, reason="both were read"))
        assert await seated.receive() == Cancelled(turn=99)
    assert "abandoned" not in caplog.text


async def test_a_link_that_ends_while_a_message_is_under_way_is_no_failure_of_the_model(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fake_hub() as hub, Link(hub.url, Join(name="Bot", role="model")) as link:
        taking_part = asyncio.create_task(Participant(link, Settings(), ScriptedModel(["said"])).run())
        seated = await hub.joined()
        await seated.welcome()
        await given_floor(seated, 1, "go")
        await seated.receive_a(Say)
        await seated.close(Close.KICKED, "enough")
        with pytest.raises(AccessDenied, match="kicked out of room 'main': enough"):
            await taking_part
    assert "passes" not in caplog.text


async def test_a_model_that_cannot_be_stopped_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palaver.participants.participant.GRACE", 0.05)
    async with seat_of(Slow(["half ", "done"], asyncio.Event(), deaf=True)) as seated:
        await given_floor(seated, 1, "go")
        await seated.receive_a(Delta)
        await seated.send(Revoke(turn=1, epoch=2, reason="paused"))
        cancelled = await seated.receive()
        assert isinstance(cancelled, Cancelled)
        assert cancelled.latency >= 0.05 and cancelled.content == "half "


async def test_a_lost_connection_stops_it_and_its_turn_is_not_answered_after() -> None:
    async with fake_hub() as hub, sitting(hub.url, Slow(["half ", "done"], asyncio.Event())):
        seated = await hub.joined()
        await seated.welcome()
        await given_floor(seated, 1, "go")
        await seated.receive_a(Delta)
        seated.drop()
        again = await hub.joined()
        await again.welcome(seq=1)
        await again.send(grant(2, context=1))
        while isinstance(frame := await again.receive(), Delta):
            assert frame.turn == 2
        assert isinstance(frame, Say) and (frame.turn, frame.content) == (2, "half done")


# --- settings and models ----------------------------------------------------------------------------------------------


async def test_settings_hold_from_the_next_turn_on() -> None:
    model = ScriptedModel(["a", "b"])
    async with seat_of(model, Settings(persona="old")) as seated:
        told = {"temperature": 0, "persona": "new", "max_tokens": 7}
        await seated.send(Event(kind="setting", data={"name": "Somebody", "settings": {"persona": "not mine"}}))
        await seated.send(Event(kind="setting", data={"name": "BOT", "settings": told}))
        await given_floor(seated, 1, "go")
        said = await seated.receive_a(Say)
        assert (said.meta["temperature"], said.meta["max_tokens"]) == (0.0, 7)
        assert last_prompt(model)[0] == ("system", "new")


async def test_another_model_is_opened_and_the_room_sees_it() -> None:
    async def change(name: str) -> ScriptedModel:
        if name == "gone":
            raise FileNotFoundError(name)
        return ScriptedModel(["from the other"], name=name)

    async with seat_of(ScriptedModel(["from the first"]), change_model=change) as seated:
        await seated.send(Event(kind="setting", data={"name": "Bot", "settings": {"model": "gone"}}))
        assert (await seated.receive()).state == "loading"
        kept = await seated.receive()
        assert kept.state == "ready" and "gone could not be opened" in kept.text
        await seated.send(Event(kind="setting", data={"name": "Bot", "settings": {"model": "other"}}))
        assert (await seated.receive()).state == "loading"
        assert await seated.receive() == Status(state="ready", text="other is ready")
        await given_floor(seated, 1, "go")
        assert (await seated.receive_a(Say)).meta["model"] == "other"


async def test_a_model_that_comes_later_is_told_of_also_on_a_new_connection() -> None:
    async with fake_hub() as hub, sitting(hub.url, None) as participant:
        seated = await hub.joined()
        assert seated.join.ready is False
        await seated.welcome()
        assert (await seated.receive()).state == "loading"
        participant.ready(ScriptedModel(["here"]))
        assert (await seated.receive()).state == "ready"
        seated.drop()
        assert (await hub.joined()).join.ready is True


# --- with the real hub ------------------------------------------------------------------------------------------------


async def test_two_bots_answer_a_moderator_and_everybody_hears_it() -> None:
    """A2.3, A2.5: replies reach all but are bounded, then there is silence."""
    lines = [f"line {number}" for number in range(100)]
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        sitting(hub.url, ScriptedModel([f"A {line}" for line in lines]), name="A"),
        sitting(hub.url, ScriptedModel([f"B {line}" for line in lines]), name="B"),
    ):
        for _ in range(2):
            await ann.until("presence", state="joined")
        await ann.say("discuss")
        limit = int(POLICIES["open"].defaults["max_in_a_row"])
        for _ in range(limit):
            await ann.until("message", role="model")
        floor = await ann.until("floor", holders=[])
        assert floor["paused"] is False
        heard = [each["content"] for each in ann.messages() if each["role"] == "model"]
        assert len(heard) == limit and {text[0] for text in heard} == {"A", "B"}


async def test_what_was_answered_together_is_not_answered_again() -> None:
    """What came in during the delay is in the reply, so no second one is owed for it."""
    model = ScriptedModel(["both"])
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        sitting(hub.url, model, Settings(delay=0.2)),
    ):
        await ann.until("presence", name="Bot")
        await ann.say("one")
        await ann.say("two")
        said = await ann.until("message", content="both")
        assert said["meta"]["saw_to"] == 2
        await ann.until("floor", holders=[])
        await ann.say("three")
        await ann.until("event", kind="pass")
        assert len(model.prompts) == 2


async def test_pause_cancels_what_is_running_and_its_latency_is_told() -> None:
    """A2.6: the moderator sees how long it took."""
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        sitting(hub.url, ScriptedModel(["and on and on"], hang=True)),
    ):
        await ann.until("presence", name="Bot")
        await ann.say("talk")
        await ann.until("delta")
        await ann.command("/pause")
        event = await ann.until("event", kind="cancelled")
        assert 0 <= event["data"]["latency"] < 0.5
        assert [each["content"] for each in ann.messages()] == ["talk"]


async def test_generation_in_a_thread_for_longer_than_three_pings_keeps_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A2.10"""

    class Blocking(ScriptedModel):
        async def complete(self, *arguments: Any, **options: Any) -> LLMResponse:
            await asyncio.to_thread(_compute, threading.Event(), 0.8)
            return await super().complete(*arguments, **options)

    def _compute(never: threading.Event, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            never.wait(0.01)

    with caplog.at_level(logging.WARNING):
        async with FakeHubWithPings() as hub, sitting(hub.url, Blocking(["at last"])):
            seated = await hub.joined()
            await seated.welcome()
            await given_floor(seated, 1, "think hard")
            assert (await seated.receive_a(Say)).content == "at last"
    assert "palaver.participants.link" not in [record.name for record in caplog.records]


class FakeHubWithPings(FakeHub):
    """Pings every 0.2 s and cuts who does not answer within 0.2 s."""

    ping = 0.2

    async def __aenter__(self) -> "FakeHubWithPings":
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
