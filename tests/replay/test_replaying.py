"""A recorded conversation run again comes out the same, or says where it does not."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from palaver.core.entry import Entry, Joined
from palaver.core.errors import PalaverError
from palaver.core.prompt import seen_by
from palaver.core.protocol import Command, Pass, Say
from palaver.hub.reading import LogFile
from palaver.participants import prompting
from palaver.replay.comparing import differing_message
from palaver.replay.replaying import UNTOLD, Missed, Report, replay
from tests.replay.talks import Talk, talking

ADA = ["Look at the river, Bob.", "ada says: breathe.", "Zoe: not mine", "Ada: Ada: twice\nBob: cut off", "**Ada**: so"]
BOB = ["I built a wheel!", "Two\nlines.", "What, Ada?"]


async def recorded(
    folder: Path, policy: str = "round_robin", steer: Callable[..., object] | None = None
) -> list[Entry]:
    """The log of a conversation of two models, about twelve messages long."""
    async with talking(folder, policy=policy) as talk:
        await talk.seat("Ada", ADA)
        await talk.seat("Bob", BOB, history=0)
        await talk.moderator.says("Ada, Bob, talk about wheels.")
        await talk.moderator.hears(5)
        await talk.moderator.says("Ada, go on")
        await talk.moderator.hears(9)
    return LogFile(folder).entries("main")


async def same(folder: Path) -> Report:
    log = LogFile(folder)
    report = await replay(log.entries("main"))
    assert not differing_message(log.messages("main"), report.messages)
    return report


def edited(entries: list[Entry], change: Callable[[Entry], Entry | None]) -> list[Entry]:
    return [changed or entry for entry in entries for changed in [change(entry)]]


@pytest.mark.parametrize("policy", ["open", "round_robin", "random", "mention", "bid", "simultaneous", "selector"])
async def test_a_conversation_comes_out_the_same(policy: str, tmp_path: Path) -> None:
    entries = await recorded(tmp_path, policy)
    report = await same(tmp_path)
    assert report.replies == sum(isinstance(one.frame, Say | Pass) and one.role == "model" for one in entries) > 3
    assert not report.as_recorded


async def test_steering_comes_at_the_same_places(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await talk.seat("Ada", ADA)
        await talk.seat("Bob", BOB)
        await talk.seat("Eve", ["I am rude."])
        mod = talk.moderator
        await mod.says("Go.")
        await mod.hears(4)
        for command in (
            "/w Bob be brief",
            "/kick Eve",
            "/redact 2 rude",
            "/set Ada temperature=0.2 history=3",
            "/set Bob persona=Grumpy",
            "/deafen Ada on",
            "/approve on",
        ):
            await mod.commands(command)
        await mod.says("Ada does not hear this.")
        await mod.until(lambda: any(getattr(frame, "kind", "") == "held" for frame in mod.seen))
        for command in (
            "/ok all",
            "/approve off",
            "/deafen Ada off",
            "/topic wheels",
            "/retry Bob",
            "/pause",
            "/resume",
        ):
            await mod.commands(command)
        count = len(mod.messages())
        await mod.says("Now everybody hears.")
        await mod.hears(count + 4)
    report = await same(tmp_path)
    assert report.replies > 5
    assert not report.as_recorded


async def test_silence_and_failure_come_out_the_same(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await talk.seat("Ada", ["[PASS]", "Bob: not mine", "", "Now I speak."])
        await talk.seat("Bob", BOB)
        for number in range(1, 4):
            await talk.moderator.says("Ada?")
            await talk.moderator.until(lambda: talk.moderator.count("pass") >= number)  # noqa: B023  # awaited at once
        await talk.moderator.says("Ada?")
        await talk.moderator.until(lambda: any(one.content == "Now I speak." for one in talk.moderator.messages()))
    entries = LogFile(tmp_path).entries("main")
    assert [entry.frame.meta is not None for entry in entries if isinstance(entry.frame, Pass)][:3] == [True] * 3
    assert (await same(tmp_path)).replies >= 6


async def test_those_who_come_late_leave_and_come_back_see_what_they_saw(tmp_path: Path) -> None:
    async with talking(tmp_path, history=3) as talk:
        await talk.seat("Ada", ADA)
        for number in range(4):
            await talk.moderator.says(f"number {number}")
        await talk.moderator.hears(6)
        await talk.seat("Bob", BOB, history=0)
        await talk.moderator.says("Welcome, Bob.")
        await talk.moderator.hears(9)
        await talk.unseat("Bob")
        await talk.moderator.says("He is gone.")
        await talk.seat("Bob", BOB, history=0)
        count = len(talk.moderator.messages())
        await talk.moderator.says("There he is.")
        await talk.moderator.hears(count + 3)
    assert (await same(tmp_path)).replies > 4


async def test_a_changed_history_is_caught_at_the_next_turn_that_saw_it(tmp_path: Path) -> None:
    entries = await recorded(tmp_path)

    def other_words(entry: Entry) -> Entry | None:
        if isinstance(entry.frame, Say) and entry.role == "moderator":
            return msgspec.structs.replace(
                entry,
                frame=msgspec.structs.replace(entry.frame, content=entry.frame.content.replace("wheels", "stones")),
            )
        return None

    with pytest.raises(Missed, match=r"Ada, turn 1: message 2 of its prompt \(user\) was another .*talk about stones"):
        await replay(edited(entries, other_words))


async def test_a_model_s_own_words_that_were_changed_are_caught_when_they_are_seen(tmp_path: Path) -> None:
    entries = await recorded(tmp_path)
    first = next(entry for entry in entries if isinstance(entry.frame, Say) and entry.role == "model")
    changed = msgspec.structs.replace(first, frame=msgspec.structs.replace(first.frame, content="Never said."))
    with pytest.raises(Missed, match=r"Bob, turn 2: message 2 .*Never said"):
        await replay([changed if entry is first else entry for entry in entries])


async def test_a_line_that_was_taken_out_is_caught(tmp_path: Path) -> None:
    entries = await recorded(tmp_path)
    with pytest.raises(Missed, match="Ada, turn 1: it spoke in this turn, and is not given it now"):
        await replay([entry for entry in entries if not (isinstance(entry.frame, Say) and entry.name == "Mod")])


async def test_another_personality_or_sampling_is_caught(tmp_path: Path) -> None:
    entries = await recorded(tmp_path)

    def told(**settings: object) -> Callable[[Entry], Entry | None]:
        def change(entry: Entry) -> Entry | None:
            if not isinstance(entry.frame, Joined) or entry.name != "Bob":
                return None
            frame = msgspec.structs.replace(entry.frame, settings={**(entry.frame.settings or {}), **settings})
            return msgspec.structs.replace(entry, frame=frame)

        return change

    with pytest.raises(Missed, match=r"Bob, turn 2: message 1 of its prompt \(system\) was another .*You are Eve"):
        await replay(edited(entries, told(persona="You are Eve.")))
    with pytest.raises(
        Missed, match=r"Bob, turn 2: the prompt is the same.*now temperature 1 .*recorded were 0.7 and 100"
    ):
        await replay(edited(entries, told(temperature=1.0)))


async def test_changed_prompt_code_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = await recorded(tmp_path)
    monkeypatch.setattr(prompting, "seen_by", lambda *args, **options: seen_by(*args, **{**options, "labels": False}))
    with pytest.raises(Missed, match="Ada, turn 1: message 2"):
        await replay(entries)


async def test_changed_steering_is_caught(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await talk.seat("Ada", ADA)
        await talk.moderator.says("Go.")
        await talk.moderator.hears(2)
        await talk.moderator.commands("/set Ada temperature=0.1")
        await talk.moderator.says("Go on.")
        await talk.moderator.hears(4)
    entries = LogFile(tmp_path).entries("main")
    without = [one for one in entries if not (isinstance(one.frame, Command) and one.frame.text.startswith("/set"))]
    with pytest.raises(Missed, match=r"Ada, turn 2: the prompt is the same"):
        await replay(without)


async def test_a_private_personality_is_taken_as_it_stands_and_told(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await talk.seat("Ada", ADA, private=True)
        await talk.seat("Bob", BOB)
        await talk.moderator.says("Go.")
        await talk.moderator.hears(5)
    report = await same(tmp_path)
    assert report.as_recorded["Ada", UNTOLD] >= 2
    assert report.replies >= 2
    assert all(getattr(one.frame, "settings", None) is None for one in LogFile(tmp_path).entries("main")[:2])


async def test_a_log_that_does_not_say_how_its_room_began_is_refused(tmp_path: Path) -> None:
    entries = await recorded(tmp_path)
    first = msgspec.structs.replace(entries[0], frame=msgspec.structs.replace(entries[0].frame, opening=None))
    with pytest.raises(PalaverError, match="does not say what floor its room began with"):
        await replay([first, *entries[1:]])


@pytest.mark.system
@pytest.mark.parametrize("seed", range(3))
async def test_random_steering_comes_out_the_same(seed: int, tmp_path: Path) -> None:
    await random_talk(tmp_path, random.Random(seed))
    assert not (await same(tmp_path)).as_recorded


async def random_talk(folder: Path, chance: random.Random) -> None:
    """A conversation in which everything happens at any time."""
    async with talking(folder, policy=chance.choice(["open", "round_robin", "mention"]), history=5) as talk:
        await talk.seat("Ada", ADA, history=chance.choice([0, 3, 5]))
        await talk.seat("Bob", BOB, history=chance.choice([0, 3, 5]))
        for number in range(25):
            await _something(talk, chance, number)


async def _something(talk: Talk, chance: random.Random, number: int) -> None:
    mod = talk.moderator
    last = max((message.seq for message in mod.messages()), default=0)
    name = chance.choice(["Ada", "Bob"])
    match chance.randrange(12):
        case 0 | 1 | 2 | 3:
            await mod.says(f"{name}, number {number}?")
            await asyncio.sleep(0.05 * chance.random())
        case 4:
            await mod.commands(f"/w {name} psst {number}")
        case 5 if last:
            await mod.commands(f"/redact {chance.randint(max(1, last - 3), last)}")
        case 6:
            await mod.commands(f"/set {name} temperature={chance.random():.2f} history={chance.randrange(6)}")
        case 7:
            await mod.commands("/pause")
            await mod.commands("/resume")
        case 8:
            await mod.commands(f"/deafen {name} {chance.choice(['on', 'off'])}")
        case 9:
            await talk.unseat(name)
            await talk.seat(name, ADA if name == "Ada" else BOB, history=chance.choice([0, 3]))
        case 10:
            await mod.commands(f"/undo {chance.randint(1, 2)}")
        case _:
            await mod.commands(f"/policy {chance.choice(['open', 'round_robin', 'mention', 'simultaneous'])}")
