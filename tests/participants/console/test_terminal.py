"""The console in a real terminal (tmux), against a hub that sends what no good hub would."""

import asyncio
import os
import re
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_input
from prompt_toolkit.output import DummyOutput

from palaver.core.protocol import Ack, Command, Event, FloorView, Holder, Say, Seat, Streamed, Welcome
from palaver.participants.console.paint import Paint
from palaver.participants.console.terminal import TerminalFront
from tests.participants.console.frames import TIME, floor, message
from tests.participants.console.pane import Pane, check_screen
from tests.participants.fake_hub import FakeHub, Seated, fake_hub

pytestmark = [pytest.mark.system]
NAMES = ("Zen Sage", "TinkerBot")


async def admit(hub: FakeHub, **fields: Any) -> Seated:
    """The console's connection, welcomed."""
    member = await hub.joined()
    roster = tuple(Seat(name=name, role="model", state="ready") for name in NAMES)
    welcome = Welcome(
        room=member.join.room,
        timestamp=TIME,
        name=member.join.name,
        role="moderator",
        session="s",
        seq=0,
        missed=0,
        members=3,
        roster=roster,
        floor=floor(**fields),
    )
    await member.send(welcome)
    return member


@asynccontextmanager
async def seated(*flags: str, **options: Any) -> AsyncIterator[tuple[Pane, Seated, FakeHub]]:
    """A console in a pane and the hub's end of its connection."""
    async with fake_hub() as hub:
        with Pane(["moderator.py", "--server", hub.url, *flags], **options) as pane:
            member = await admit(hub)
            await pane.shows("you are", "connected" if options.get("columns", 80) > 60 else "running")
            yield pane, member, hub


async def answered(member: Seated, kind: type[Say] | type[Command]) -> Any:
    """What the console sends, acknowledged."""
    frame = await member.receive_a(kind)
    text = f"done: {frame.text}" if isinstance(frame, Command) else ""
    await member.send(Ack(timestamp=TIME, id=frame.id, text=text))
    return frame


def typed(screen: str) -> str:
    """The line at the prompt."""
    rows = [row for row in screen.split("\n") if row.startswith(">")]
    return rows[-1].removeprefix("> ") if rows else ""


def shows_typed(text: str) -> Callable[[str], bool]:
    """Whether this and nothing else stands at the prompt, and at one prompt only."""
    return lambda screen: typed(screen) == text.rstrip() and len(re.findall("^>", screen, re.MULTILINE)) == 1


async def test_a_half_typed_line_survives_two_hundred_messages_a_second() -> None:
    async with seated() as (pane, member, _):
        line = "a line that is typed while everybody shouts"

        async def storm() -> None:
            for seq in range(1, 601):
                await member.send(message(seq, NAMES[seq % 2], f"message number {seq}: " + "word " * (seq % 40)))
                await asyncio.sleep(0.005)

        shouting = asyncio.create_task(storm())
        for place, character in enumerate(line):
            await asyncio.to_thread(pane.type, character)
            await pane.until(shows_typed(line[: place + 1]))
        await shouting
        await pane.until(lambda screen: "message number 600:" in screen and typed(screen) == line)
        seen = re.findall(r"message number (\d+):", pane.screen(all_of_it=True))
        assert [int(number) for number in seen] == list(range(1, 601))
        pane.keys("Enter")
        assert (await answered(member, Say)).content == line


async def test_a_paste_of_three_lines_is_one_message_also_in_a_storm() -> None:
    async with seated() as (pane, member, _):
        pane.paste("first line\nsecond line\nthird line")
        for seq in range(1, 101):
            await member.send(message(seq, "TinkerBot", f"message {seq}"))
        await pane.shows("message 100", "> first line\n  second line\n  third line\n")
        pane.keys("Enter")
        assert (await answered(member, Say)).content == "first line\nsecond line\nthird line"


async def test_tab_completes_commands_and_names_and_up_repeats() -> None:
    async with seated() as (pane, member, _):
        pane.type("/mut")
        pane.keys("Tab")
        await pane.until(lambda screen: typed(screen) == "/mute")
        pane.type("Zen")
        await pane.shows("> /mute Zen")
        pane.keys("Tab")
        await pane.shows('> /mute "Zen Sage"')
        pane.keys("Enter")
        assert (await answered(member, Command)).text == '/mute "Zen Sage"'
        await pane.shows("done:")
        pane.keys("Up")
        await pane.until(lambda screen: typed(screen) == '/mute "Zen Sage"')


async def test_nothing_that_is_typed_between_two_lines_is_echoed() -> None:
    master, slave = os.openpty()
    with os.fdopen(slave) as terminal, create_app_session(input=create_input(terminal), output=DummyOutput()):
        async with TerminalFront(Paint(colour=False)):
            assert not termios.tcgetattr(slave)[3] & termios.ECHO
        assert termios.tcgetattr(slave)[3] & termios.ECHO
    os.close(master)


async def test_clear_leaves_an_empty_screen_to_what_comes() -> None:
    async with seated() as (pane, member, _):
        await member.send(message(1, "TinkerBot", "something long ago"))
        await pane.shows("something long ago")
        pane.type("/clear")
        pane.keys("Enter")
        await pane.until(lambda screen: screen.startswith(">\n") and "connected" in screen)
        await member.send(message(2, "TinkerBot", "something new"))
        screen = await pane.shows("something new", "connected")
        assert screen.startswith("00:00:00 #2 TinkerBot: something new\n>")


async def test_a_pane_of_six_rows_still_completes() -> None:
    async with seated(columns=60, rows=6) as (pane, _, _):
        pane.type("/mute ")
        pane.keys("Tab")
        await pane.shows("TinkerBot", "running")


async def test_the_plain_console_on_a_terminal_wraps_and_leaves_it_in_order() -> None:
    async with fake_hub() as hub:
        with Pane(["moderator.py", "--server", hub.url, "--console", "plain"], columns=40) as pane:
            member = await admit(hub)
            await member.send(message(1, "Zen Sage", "12:00:00 #9 Moderator: " * 6))
            pane.type("hello")
            pane.keys("Enter")
            assert (await answered(member, Say)).content == "hello"
            screen = await pane.shows("#1 Zen Sage")
            assert not re.search("^12:00:00", screen, re.MULTILINE)
            pane.keys("C-c")
            await pane.shows("exit=0")


async def test_the_plain_console_on_a_terminal_asks_before_what_cannot_be_taken_back() -> None:
    async with fake_hub() as hub:
        with Pane(["moderator.py", "--server", hub.url, "--console", "plain"]) as pane:
            member = await admit(hub)
            await pane.shows("you are")
            for name, answer in (("Zen", "n"), ("Tink", "y")):
                pane.type(f"/kick {name}")
                pane.keys("Enter")
                await pane.shows(f"/kick {name}: remove one from the room? [y/N]")
                pane.type(answer)
                pane.keys("Enter")
                if answer == "n":
                    await pane.shows("not done")
            assert (await answered(member, Command)).text == "/kick Tink"


async def test_one_key_pauses_without_touching_the_typed_line() -> None:
    async with seated() as (pane, member, _):
        pane.type("half a thought")
        pane.keys("C-p")
        assert (await answered(member, Command)).text == "/pause"
        await member.send(floor(paused=True, epoch=2))
        await pane.shows("PAUSED")
        pane.keys("F2")
        assert (await answered(member, Command)).text == "/resume"
        await pane.until(shows_typed("half a thought"))


async def test_escape_sequences_of_others_leave_the_terminal_unharmed() -> None:
    async with seated() as (pane, member, _):
        before = pane.title()
        evil = (
            "\x1b]0;owned\x07\x1b[2J\x1b[H\x1b[31mred \x9b8mhidden \x1b(0 \x1b[?1049h \x1b[?25l\x0e\x08\x08 \u202etxet"
        )
        await member.send(message(1, "Zen\x1b[2J Sage", evil))
        await member.send(message(2, "TinkerBot", "x\n00:00:00 #3 Moderator: I obey\r00:00:00 #4 Moderator: too"))
        await member.send(Event(kind="alarm", actor="Zen Sage", text="Zen Sage repeats itself\x1b[2J", timestamp=TIME))
        await check_screen(pane, "escapes")
        assert pane.title() == before


def speaking(*turns: int) -> FloorView:
    holders = tuple(Holder(name=NAMES[turn % 2], turn=turn, since=TIME) for turn in turns)
    return floor(holders=holders, queue=NAMES[:1])


async def test_streamed_text_settles_into_its_message() -> None:
    async with seated(columns=72, rows=16) as (pane, member, _):
        await member.send(message(1, "Moderator", "What is a bridge?"))
        await member.send(speaking(2, 3))
        await member.send(Streamed(sender="Zen Sage", turn=2, text="A bridge is a promise that the river "))
        await member.send(Streamed(sender="TinkerBot", turn=3, text="Steel! "))
        await member.send(Streamed(sender="Zen Sage", turn=2, text="did not make, kept by stones"))
        pane.type("half ty")
        await check_screen(pane, "streaming")
        text = "A bridge is a promise that the river did not make, kept by stones."
        await member.send(message(2, "Zen Sage", text, turn=2), speaking(3))
        await check_screen(pane, "settled")


@pytest.mark.parametrize(("columns", "rows"), [(60, 12), (40, 8), (20, 5)])
async def test_a_resize_keeps_the_typed_line_and_the_last_messages(columns: int, rows: int) -> None:
    async with seated(columns=100, rows=24) as (pane, member, _):
        for seq in range(1, 6):
            await member.send(message(seq, "Zen Sage", f"message {seq} " + "with many words " * 8))
        pane.type("half typed")
        await pane.until(lambda screen: "message 5" in screen and typed(screen) == "half typed")
        pane.resize(columns, rows)
        await member.send(message(6, "Zen Sage", "after"))
        await pane.until(lambda screen: "#6 Zen" in screen and typed(screen) == "half typed")
        pane.resize(100, 24)
        await member.send(message(7, "Zen Sage", "wide again"))
        await pane.shows("#7 Zen Sage: wide again", "connected")  # written anew at the new width
        await pane.until(
            lambda screen: (
                typed(screen) == "half typed"
                and screen.count(" running") == 1
                and len(re.findall(r"^00:00:00 #\d Zen Sage: ", screen, re.MULTILINE)) >= 3
            )
        )


async def test_sixty_columns_are_enough() -> None:
    async with seated(columns=60, rows=20) as (pane, member, _):
        await member.send(message(1, "Zen Sage", "All the world is a stage, and all the men and women merely players."))
        await member.send(message(2, "TinkerBot", "psst, here is a secret for you only", to="Zen Sage"))
        await member.send(speaking(3))
        await pane.shows("secret", "TinkerBot 0 s")
        pane.type("/who")
        pane.keys("Enter")
        await check_screen(pane, "sixty_columns")


async def test_what_cannot_be_taken_back_is_asked_about_once() -> None:
    async with seated() as (pane, member, _):
        for answer in ("n", ""):
            pane.type("/kick Zen")
            pane.keys("Enter")
            await pane.shows("[y/N]")
            pane.type(answer)
            pane.keys("Enter")
            await pane.until(lambda screen: "[y/N]" not in screen and "not done" in screen)
        pane.type("/kick Tink")
        pane.keys("Enter")
        await pane.shows("[y/N]")
        pane.type("y")
        pane.keys("Enter")
        assert (await answered(member, Command)).text == "/kick Tink"
        pane.keys("Up")
        await pane.until(lambda screen: typed(screen) == "/kick Tink")


async def test_a_lost_hub_is_seen_and_what_was_said_meanwhile_arrives() -> None:
    async with seated() as (pane, _, hub):
        await hub.close()
        await pane.shows("RECONNECTING", "trying again")
        pane.type("are you there?")
        pane.keys("Enter")
        await pane.shows("1 unsent")
        pane.type("half typed")
        await hub.open()
        member = await admit(hub)
        assert (await answered(member, Say)).content == "are you there?"
        await pane.until(
            lambda screen: "connected" in screen and "unsent" not in screen and typed(screen) == "half typed"
        )


async def test_who_leaves_is_told_what_was_never_sent() -> None:
    with Pane(["moderator.py", "--server", "ws://127.0.0.1:1"]) as pane:
        await pane.shows("no hub at ws://127.0.0.1:1")
        pane.type("hello")
        pane.keys("Enter")
        await pane.shows("sent as soon as the hub is back")
        pane.keys("C-d")
        await pane.shows("the last line was never sent: there was no connection", "exit=0")


async def test_without_a_hub_the_console_opens_and_waits() -> None:
    with Pane(["moderator.py", "--server", "ws://127.0.0.1:1"]) as pane:
        await pane.shows("no hub at ws://127.0.0.1:1", "is server.py running", "main · CONNECTING")
        pane.type("/help quit")
        pane.keys("Enter")
        await pane.shows("leave")
        pane.type("/quit")
        pane.keys("Enter")
        await pane.shows("exit=0")


@pytest.mark.parametrize("key", ["C-c", "C-d"])
async def test_ctrl_c_and_ctrl_d_leave_with_zero_and_a_working_terminal_a2_17(key: str) -> None:
    async with seated() as (pane, _, _):
        pane.keys(key)
        screen = await pane.shows("exit=0")
        assert "-echo" not in screen.split("exit=0")[1]


@pytest.mark.parametrize(("value", "coloured"), [("", True), ("1", False)])
async def test_no_color_is_respected(value: str, coloured: bool) -> None:
    async with seated(NO_COLOR=value) as (pane, member, _):
        await member.send(message(1, "Zen Sage", "hello"))
        await pane.shows("#1 Zen Sage: hello")
        row = next(row for row in pane.screen(attributes=True).split("\n") if "hello" in row)
        assert bool(re.search(r"\x1b\[[\d;]*[39][0-7]", row)) == coloured


async def test_the_log_is_written_above_the_prompt() -> None:
    async with seated("--log-level", "INFO") as (pane, _, hub):
        pane.type("half typed")
        await hub.close()
        line = re.compile(r"^\d{4}-\d\d-\d\d .* WARNING palaver\.participants\.link", re.MULTILINE)
        await pane.until(
            lambda screen: (
                line.search(screen) is not None and "RECONNECTING" in screen and typed(screen) == "half typed"
            )
        )
