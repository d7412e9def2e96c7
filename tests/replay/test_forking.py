"""A conversation goes another way from one of its messages on."""

import asyncio
import json
import shlex
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest

from palaver.cli import client, fork, main
from palaver.core.entry import Forked
from palaver.core.transcript import to_line
from palaver.hub.reading import LogFile
from palaver.participants.settings import Settings
from palaver.replay.forking import Past, said_in
from palaver.replay.replaying import replay
from tests.core.test_prompt import message, talk
from tests.hubs import joined, running
from tests.replay.talks import talking
from tests.replay.test_replaying import ADA, BOB, recorded

FORK = "fork"


async def palaver(words: list[str]) -> int:
    """A command, which has a loop of its own."""
    return await asyncio.to_thread(main, words)


async def forked(folder: Path, *words: str) -> Path:
    """`folder` with a fork of its room, made after the third message."""
    await recorded(folder)
    assert await palaver([FORK, str(folder), "--at", "3", *words]) == 0
    return folder


async def test_a_hub_serves_the_fork_with_its_past_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = await forked(tmp_path, "--room", "other", "--set", "ada.temperature=0.1", "--set", "Bob.persona=Be grumpy.")
    told = capsys.readouterr().out
    assert "room other" in told
    assert "client --name Ada --room other --model MODEL --temperature 0.1" in told
    original = LogFile(data).messages("main")
    async with running(data) as hub:
        async with joined(hub.url, "Eve", "moderator", room="other") as eve:
            past = [await eve.until("message") for _ in range(3)]
            assert [one["content"] for one in past] == [one.content for one in original[:3]]
            assert {one["room"] for one in past} == {"other"}
            assert {one["meta"]["forked_from"] for one in past} == {"main"}
            async with joined(hub.url, "Ada", "model", room="other", after=3) as ada:
                setting = await ada.until("event", kind="setting")
                assert setting["data"]["settings"] == {"persona": "You are Ada.", "temperature": 0.1}
                grant = await ada.until("grant")  # it owes an answer to what was said last
                assert (await ada.say("Another way.", turn=grant["turn"]))["seq"] == 4
                async with joined(hub.url, "Bob", "model", room="other", after=3) as bob:
                    setting = await bob.until("event", kind="setting")
                    assert setting["data"]["settings"] == {"persona": "Be grumpy."}
        page = await asyncio.to_thread(urlopen, f"http://127.0.0.1:{hub.port}/rooms")
        rooms = {room["name"]: room for room in json.loads(page.read())}
        page.close()
        assert rooms["other"]["forked_from"] == {"room": "main", "seq": 3}
    assert [one.content for one in LogFile(data).messages("main")] == [one.content for one in original]


def test_a_model_that_takes_a_script_s_place_is_not_started_as_a_script(tmp_path: Path) -> None:
    (tmp_path / "other.txt").touch()
    told = {"Ada": ("model", {"model": "ada.txt", "backend": "scripted", "persona": "P"})}
    for model, backend in (("microsoft/phi-2", ""), (str(tmp_path / "other.txt"), " --backend scripted")):
        _, ada, _ = fork._commands(tmp_path, "r", told, {"Ada": {"model": model}})
        assert ada == f"palaver client --name Ada --room r --model {model}{backend}"


def test_what_is_to_be_typed_is_what_the_client_takes(tmp_path: Path) -> None:
    told = {**Settings(persona="P").told(), "model": "tiny", "backend": "hf"}
    _, ada, _ = fork._commands(tmp_path, "r", {"Ada": ("model", told)}, {})
    flags = client.parser().parse_args(shlex.split(ada)[2:])
    assert (flags.name, flags.history_length, flags.temperature) == ("Ada", 5, 0.7)


async def test_a_fork_of_a_fork_can_be_replayed_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = await forked(tmp_path)
    async with talking(data, room="main-2") as talk:
        await talk.seat("Ada", ["Quite another word.", "And one more."])
        await talk.seat("Bob", BOB)
        await talk.moderator.says("Go on, Ada.")
        await talk.moderator.hears(7)
    log = LogFile(data)
    report = await replay(log.entries("main-2"))
    assert report.replies > 3
    assert await palaver([FORK, f"{data}:main-2", "--at", "5"]) == 0
    assert (await replay(LogFile(data).entries("main-3"))).messages[:5] == [
        msgspec.structs.replace(one, room="main-3", meta={**(one.meta or {}), "forked_from": "main-2"})
        for one in log.messages("main-2")[:5]
    ]
    capsys.readouterr()
    assert await palaver(["diff", f"{data}:main", f"{data}:main-2"]) == 1
    assert "@@ 3 messages in common @@" in capsys.readouterr().out


async def test_what_was_taken_back_later_stays_taken_back(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await talk.seat("Ada", ADA)
        await talk.moderator.says("a secret")
        await talk.moderator.hears(2)
        await talk.moderator.says("go on")
        await talk.moderator.hears(4)
        await talk.moderator.commands("/redact 1 private")
    assert await palaver([FORK, str(tmp_path), "--at", "2"]) == 0
    first = LogFile(tmp_path).messages("main-2")[0]
    assert (first.content, first.redacted) == ("", "private")
    async with running(tmp_path) as hub, joined(hub.url, "Eve", "moderator", room="main-2") as eve:
        assert (await eve.until("message"))["redacted"] == "private"


async def test_a_fork_before_the_first_message_has_the_seats_and_the_settings(tmp_path: Path) -> None:
    entries = await recorded(tmp_path)
    past = Past(entries, 0)
    assert set(past.told) == {"Mod", "Ada", "Bob"}
    made = past.entries_of("other", settings={}, now=0.0, ident="f")
    assert said_in(made) == []
    assert isinstance(made[-1].frame, Forked)


async def test_messages_that_were_said_together_stay_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await recorded(tmp_path, "simultaneous")
    assert await palaver([FORK, str(tmp_path), "--at", "2"]) == 2
    assert "said together with the next one" in capsys.readouterr().err
    assert await palaver([FORK, str(tmp_path), "--at", "3"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--at", "99"], "--at 99 is out of range: room 'main' has messages 1 to"),
        (["--at", "-1"], "--at -1 is out of range"),
        (["--at", "1", "--set", "Zoe.model=x"], "nobody there is called 'Zoe'; there were: Ada, Bob"),
        (["--at", "1", "--set", "Ada.mood=x"], "'mood' is unknown; known: temperature, model"),
        (["--at", "1", "--set", "Ada.temperature=hot"], "temperature='hot' must be a number"),
        (["--at", "1", "--set", "Ada.max_tokens=0"], "--set 'Ada.max_tokens=0': max_tokens=0 must be 1 or more"),
        (["--at", "1", "--set", "Ada.persona=no.txt"], "--set 'Ada.persona=no.txt': no.txt: cannot be read"),
        (["--at", "1", "--set", "Ada"], "must be NAME.WHAT=VALUE"),
        (["--at", "1", "--room", "main"], "'main' is there already"),
        (["--at", "1", "--room", "a b"], "must be 1 to 64 letters"),
    ],
)
async def test_what_cannot_be_forked_is_told_and_nothing_is_written(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await recorded(tmp_path)
    assert await palaver([FORK, str(tmp_path), *words]) == 2
    assert says in capsys.readouterr().err
    assert LogFile(tmp_path).rooms() == ["main"]


async def test_a_hub_that_runs_keeps_forks_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running(tmp_path) as hub, joined(hub.url, "Ann") as ann:
        await ann.say("hello")
        log = LogFile(tmp_path)
        assert log.rooms() == ["main"]
        assert await palaver([FORK, str(tmp_path), "--at", "1"]) == 1
    assert "another hub uses" in capsys.readouterr().err


def test_a_transcript_becomes_a_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "talk.jsonl"
    said = [*talk(1200), message(1201, "Mod", "psst", to="Ada")]
    path.write_bytes(b"".join(to_line(one) + b"\n" for one in said))
    assert main([FORK, str(path), "--at", "1201"]) == 2
    assert "--data-dir" in capsys.readouterr().err
    assert main([FORK, str(path), "--at", "1201", "--data-dir", str(tmp_path / "data"), "--set", "Bob.model=x"]) == 0
    assert main(["diff", str(path), str(tmp_path / "data")]) == 0
    assert "the same 1201 messages" in capsys.readouterr().out


async def test_an_imported_conversation_goes_on_in_a_room(tmp_path: Path) -> None:
    (tmp_path / "irc.log").write_text("12:34 <ada> hi\n12:35 <bob> hello\n")
    assert await palaver(["import", str(tmp_path / "irc.log"), "-o", str(tmp_path / "irc.jsonl"), "--room", "tea"]) == 0
    data = tmp_path / "data"
    assert await palaver([FORK, str(tmp_path / "irc.jsonl"), "--at", "2", "--data-dir", str(data)]) == 0
    async with running(data) as hub, joined(hub.url, "Eve", room="tea") as eve:
        assert [(await eve.until("message"))["content"] for _ in range(2)] == ["hi", "hello"]
        assert (await eve.say("good morning"))["seq"] == 3
    assert (await same_room(data, "tea")) == 3


async def same_room(folder: Path, room: str) -> int:
    return len((await replay(LogFile(folder).entries(room))).messages)
