"""The seat: what is typed and what becomes of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from palaver.core.commands import COMMANDS
from palaver.core.errors import CommandError, PalaverError
from palaver.core.message import Message
from palaver.core.protocol import Event, HubFrame, Presence, Streamed, System
from palaver.participants.console.hiding import Hiding
from palaver.participants.console.local import RULES, rooms_of
from palaver.participants.console.seat import Seat
from palaver.participants.console.view import RoomView
from palaver.participants.link import Answer, LinkDown
from tests.participants.console.frames import ListHub, ListScreen, floor, message, welcome


class At:
    """A seat with all that it touches."""

    def __init__(self, hub: ListHub | None = None, *topics: str) -> None:
        self.hub = hub or ListHub()
        self.screen = ListScreen()
        self.now = 0.0
        self.seat = Seat(
            view=RoomView(room="main", me="Moderator", down_since=0.0),
            hub=self.hub,
            screen=self.screen,
            clock=lambda: self.now,
            hiding=Hiding(set(topics)),
            fetch_rooms=self._rooms,
        )
        self.seat.hear(welcome("Zen Sage", "TinkerBot", "Ada"))
        self.screen.lines.clear()

    async def _rooms(self) -> list[dict[str, Any]]:
        return [{"name": "main", "members": 4, "messages": 2, "policy": "open", "paused": True}, {"name": "lobby"}]

    @property
    def refusals(self) -> str:
        return "\n".join(line.text for line in self.screen.refused)


async def test_plain_text_is_a_message() -> None:
    at = At()
    assert await at.seat.enter("hello there")
    assert await at.seat.enter("   ")
    assert at.hub.sent == ["say hello there"]


async def test_two_slashes_say_one() -> None:
    at = At()
    assert await at.seat.enter("//pause is a command")
    assert at.hub.sent == ["say /pause is a command"]


async def test_a_command_goes_to_the_hub_as_typed_and_its_answer_is_shown() -> None:
    at = At()
    assert await at.seat.enter("/mute Zen 5m")
    assert at.hub.sent == ["/mute Zen 5m"]
    assert at.screen.texts == ["done: /mute Zen 5m"]


async def test_a_refusal_is_shown_and_reported() -> None:
    at = At(ListHub("the room is paused"))
    assert not await at.seat.enter("/floor Ada")
    assert at.refusals == "refused: the room is paused"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("/puase", "/pause [NAMES…]: silence everyone"),
        ("/xyzzy", "commands: /pause /resume"),
        ("/", "commands: /pause"),
        ("/s", "could be several"),
        (" /nosuch x", "/nosuch is unknown; nothing was sent"),
    ],
)
async def test_an_unknown_command_gets_help_and_is_not_sent_anywhere_a2_6(typed: str, told: str) -> None:
    at = At()
    assert not await at.seat.enter(typed)
    assert told in at.refusals
    assert at.hub.sent == []


async def test_every_command_of_the_console_is_carried_out_here() -> None:
    assert {verb for verb, spec in COMMANDS.items() if spec.where == "console"} == set(RULES)


@pytest.mark.parametrize("verb", sorted(RULES))
async def test_no_command_of_the_console_reaches_the_hub_or_raises(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for rest in ("", " ", " Ada", " nobody at all", " 3", " [", ' "', " -1"):
        at = At()
        await at.seat.enter(f"/{verb}{rest}")
        assert at.hub.sent == []


async def test_only_what_cannot_be_taken_back_is_asked_about() -> None:
    at = At()
    asked = {verb for verb in COMMANDS if at.seat.question(f"/{verb} x") is not None}
    assert asked == {verb for verb, spec in COMMANDS.items() if spec.destructive}
    assert at.seat.question("/kic Ada") is not None
    assert at.seat.question("//kick Ada") is None
    assert at.seat.question("kick Ada") is None


async def test_one_key_pauses_and_resumes() -> None:
    at = At()
    await at.seat.toggle_pause()
    at.seat.hear(floor(paused=True))
    await at.seat.toggle_pause()
    assert at.hub.sent == ["/pause", "/resume"]


async def test_a_personality_file_is_sent_as_text_and_a_missing_one_is_not_sent(tmp_path: Path) -> None:
    at = At()
    (tmp_path / "sage.txt").write_text("You are calm.")
    assert await at.seat.enter(f"/set Zen persona={tmp_path}/sage.txt")
    assert not await at.seat.enter("/set Zen persona=no-such-file")
    assert at.hub.sent == ["/set \"Zen Sage\" 'persona=You are calm.'"]
    assert "no-such-file" in at.refusals


class Silent(ListHub):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def say(self, text: str) -> Answer:
        await self.may_answer.wait()
        return await super().say(text)


async def test_what_waits_for_its_answer_is_counted() -> None:
    hub = Silent()
    at = At(hub)
    at.seat.hear(LinkDown("lost", 0.1, 0))
    saying = asyncio.create_task(at.seat.enter("hello"))
    await asyncio.sleep(0)
    assert at.seat.view.unanswered == 1
    assert "sent as soon as the hub is back" in at.screen.texts[-1]
    hub.may_answer.set()
    assert await saying
    assert at.seat.view.unanswered == 0


class Broken(ListHub):
    async def say(self, text: str) -> Answer:
        raise PalaverError("the link is closed")


async def test_a_link_that_failed_is_told_and_does_not_raise() -> None:
    at = At(Broken())
    assert not await at.seat.enter("hello")
    assert at.refusals == "the link is closed"


async def test_a_lost_connection_is_told_once() -> None:
    at = At()
    for attempt in range(3):
        at.seat.hear(LinkDown("the connection was lost", 0.5, attempt))
    assert at.screen.texts == ["the connection was lost; trying again"]


class Deaf(ListHub):
    async def say(self, text: str) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize(("count", "told"), [(1, ["the last line was"]), (2, ["the last 2 lines were"]), (0, [])])
async def test_who_leaves_without_a_connection_is_told_what_was_never_sent(count: int, told: list[str]) -> None:
    at = At(Deaf())
    at.seat.hear(LinkDown("the connection was lost", 0.5, 0))
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(at.seat.enter("hello")) for _ in range(count)]
        await asyncio.sleep(0)
        at.screen.lines.clear()
        at.seat.take_leave()
        for task in asking:
            task.cancel()
    assert at.screen.texts == [f"{text} never sent: there was no connection" for text in told]


async def test_it_is_caught_up_with_the_last_of_what_was_said_before() -> None:
    at = At()
    at.seat.caught_up.clear()
    at.seat.hear(welcome("Ada", seq=2, missed=2))
    at.seat.hear(message(1, "Ada", "one"))
    assert not at.seat.caught_up.is_set()
    at.seat.hear(message(2, "Ada", "two"))
    assert at.seat.caught_up.is_set()


async def test_why_nobody_speaks_is_told_once_until_somebody_does() -> None:
    at = At()
    for waits in ("", "8 in a row", "8 in a row", "", "8 in a row"):
        at.seat.hear(floor(waits=waits))
    assert at.screen.texts == ["8 in a row", "8 in a row"]


async def test_a_conversation_that_has_ended_is_told_at_its_end_and_to_who_comes_later() -> None:
    at = At()
    at.seat.hear(floor(ended=True))
    at.seat.hear(floor(ended=True))
    assert [text.split(":")[0] for text in at.screen.texts] == ["the conversation has ended"]
    late = At()
    late.seat.hear(welcome("Ada", seq=1, missed=1, floor=floor(ended=True)))
    late.seat.hear(message(1, "Ada", "goodbye"))
    assert late.screen.texts[1] == "goodbye"
    assert late.screen.texts[2].startswith("the conversation has ended: /save FILE keeps it, /switch ROOM")


# --- hiding ----------------------------------------------------------------------------------------------------------


def hear_all(at: At) -> list[str]:
    frames: list[HubFrame] = [
        message(1, "Ada", "chat"),
        message(2, "Moderator", "own"),
        System(content="info"),
        System(content="warning", level="warning"),
        Presence(name="Cid", role="model", state="joined"),
        Event(kind="alarm", text="alarm"),
    ]
    at.screen.lines.clear()
    for frame in frames:
        at.seat.hear(frame)
    return [text.split()[0] for text in at.screen.texts]


async def test_hidden_messages_still_show_notices_and_ones_own_words_a2_17() -> None:
    at = At(None, "chat")
    assert hear_all(at) == ["own", "info", "warning", "Cid", "alarm"]
    assert (at.seat.view.hidden, at.seat.view.hiding) == (1, "chat")


async def test_hidden_notices_leave_warnings_and_alarms() -> None:
    at = At(None, "system")
    assert hear_all(at) == ["chat", "own", "warning", "alarm"]


async def test_toggle_hides_messages_and_shows_them_again_a2_6() -> None:
    at = At()
    await at.seat.enter("/toggle")
    assert "chat" not in hear_all(at)
    await at.seat.enter("/toggle")
    assert "1 were hidden" in at.screen.texts[-1]
    assert "chat" in hear_all(at)
    assert (at.seat.view.hidden, at.seat.view.hiding) == (0, "")


@pytest.mark.parametrize("typed", ["/ignore Zen Sage", '/hide "zen sage"', "/toggle zen", "/hide @Zen"])
async def test_one_participant_can_be_hidden_by_name(typed: str) -> None:
    at = At()
    assert await at.seat.enter(typed)
    at.screen.lines.clear()
    at.seat.hear(message(1, "Zen Sage", "x"))
    at.seat.hear(Streamed(sender="Zen Sage", turn=1, text="x"))
    at.seat.hear(message(2, "Ada", "y"))
    assert at.screen.texts == ["y"]
    assert not at.seat.view.streams
    assert await at.seat.enter("/show zen sage")
    at.seat.hear(message(3, "Zen Sage", "z"))
    assert at.screen.texts[-1] == "z"


async def test_what_is_hidden_is_told_by_its_whole_name_and_once() -> None:
    at = At()
    for typed in ("/hide zen", "/hide Zen Sage", "/hide CHAT", "/show zen", "/toggle"):
        assert await at.seat.enter(typed)
    assert at.screen.texts == [
        "hiding Zen Sage",
        "hiding Zen Sage",
        "hiding chat; also hidden: Zen Sage",
        "showing Zen Sage; still hidden: chat",
        "showing chat",
    ]


async def test_who_is_not_here_cannot_be_hidden() -> None:
    at = At()
    assert not await at.seat.enter("/hide Nobody")
    assert "'Nobody' is not here" in at.refusals


async def test_streamed_text_can_be_hidden_alone() -> None:
    at = At()
    await at.seat.enter("/hide deltas")
    at.seat.hear(Streamed(sender="Ada", turn=1, text="x"))
    at.seat.hear(message(1, "Ada", "x"))
    assert not at.seat.view.streams
    assert at.screen.texts[-1] == "x"


# --- the rest of the local commands ----------------------------------------------------------------------------------


def said(at: At, count: int = 30) -> None:
    for seq in range(1, count + 1):
        at.seat.hear(message(seq, "Ada" if seq % 2 else "Zen Sage", f"word {seq}"))
    at.screen.lines.clear()


async def test_history_shows_the_last_messages_also_the_hidden_ones() -> None:
    at = At(None, "chat")
    said(at)
    await at.seat.enter("/history 3")
    assert at.screen.texts == ["word 28", "word 29", "word 30"]
    await at.seat.enter("/history")
    assert len(at.screen.lines) == 3 + 20
    assert not await at.seat.enter("/history lots")


async def test_lastlog_finds_patterns_and_takes_broken_ones_literally() -> None:
    at = At()
    said(at)
    at.seat.hear(message(31, "Ada", "a [strange one"))
    at.screen.lines.clear()
    await at.seat.enter("/lastlog zen sage: word (2|4)$")
    assert at.screen.texts == ["word 2", "word 4"]
    await at.seat.enter("/lastlog [strange")
    assert at.screen.texts[-1] == "a [strange one"
    await at.seat.enter("/lastlog nowhere")
    assert "nothing said here matches" in at.screen.texts[-1]


@pytest.mark.parametrize(
    "line",
    [
        "/history ²",
        f"/history {'9' * 5000}",
        "/save ~nobody-of-this-name/talk.md",
        "/save talk\0.md",
        "/set zen persona=~nobody-of-this-name/sage.txt",
        "/set zen persona=/dev/zero",
        "/policy debate file=~nobody-of-this-name/debate.yaml",
    ],
)
async def test_what_cannot_be_done_here_is_said_in_one_line(line: str) -> None:
    at = At()
    assert not await at.seat.enter(line)
    assert at.refusals
    assert "\n" not in at.refusals


async def test_what_is_no_pattern_is_searched_for_as_it_stands() -> None:
    at = At()
    for pattern in ("a{99999999999}", "(" * 3000 + ")" * 3000):
        assert await at.seat.enter(f"/lastlog {pattern}")
        assert "nothing said here matches" in at.screen.texts[-1]


@pytest.mark.parametrize("verb", ["save", "export"])
async def test_a_transcript_is_saved_as_json_lines_or_markdown(verb: str, tmp_path: Path) -> None:
    at = At()
    said(at, 3)
    assert await at.seat.enter(f"/{verb} {tmp_path}/new/talk.jsonl")
    lines = (tmp_path / "new/talk.jsonl").read_text().splitlines()
    assert [json.loads(line)["content"] for line in lines] == ["word 1", "word 2", "word 3"]
    assert await at.seat.enter(f'/{verb} "{tmp_path}/my talk.md"')
    assert "> word 2" in (tmp_path / "my talk.md").read_text()
    assert not list(tmp_path.rglob(".*"))  # noqa: ASYNC240  # no half-written file is left behind
    assert not await at.seat.enter(f"/{verb} {tmp_path}/talk.pdf")
    assert not await at.seat.enter(f"/{verb} {tmp_path}/my talk.md/under.md")
    assert not await at.seat.enter(f"/{verb}")


async def test_who_lists_everybody_with_what_holds_them(tmp_path: Path) -> None:
    at = At()
    at.seat.hear(floor(muted=("ada",)))
    await at.seat.enter("/who")
    assert at.screen.texts[-1] == (
        "3 in room main\n  Zen Sage   model, ready\n  TinkerBot  model, ready\n  Ada        model, ready, muted"
    )


async def test_who_lists_wide_names_in_one_column() -> None:
    at = At()
    at.seat.hear(welcome("木村", "Ada"))
    await at.seat.enter("/who")
    assert at.screen.texts[-1] == "2 in room main\n  木村  model, ready\n  Ada   model, ready"


async def test_rooms_are_listed_and_can_be_switched_to() -> None:
    at = At()
    await at.seat.enter("/rooms")
    assert at.screen.texts[-1].splitlines()[1] == " *main  4 here, 2 messages, open, PAUSED"
    assert at.seat.rooms == ["main", "lobby"]
    assert not await at.seat.enter("/switch no such room")
    assert not at.seat.leaving.is_set()
    assert await at.seat.enter("/switch main")
    assert not at.seat.leaving.is_set()
    assert await at.seat.enter("/switch lobby")
    assert (at.seat.next_room, at.seat.leaving.is_set()) == ("lobby", True)


async def test_rooms_of_a_hub_that_does_not_answer_are_refused_with_the_reason() -> None:
    with pytest.raises(CommandError, match=r"http://127\.0\.0\.1:1/rooms does not tell the rooms"):
        await rooms_of("ws://127.0.0.1:1/", None)()


async def test_quit_leaves_and_clear_clears() -> None:
    at = At()
    await at.seat.enter("/clear")
    assert at.screen.cleared == 1
    await at.seat.enter("/quit")
    assert (at.seat.next_room, at.seat.leaving.is_set()) == (None, True)


async def test_help_lists_every_command_or_explains_one() -> None:
    at = At()
    await at.seat.enter("/help")
    assert all(f"  {spec.usage}" in at.screen.texts[-1] for spec in COMMANDS.values())
    await at.seat.enter("/help kic")
    assert at.screen.texts[-1].startswith("/kick NAME [REASON…]\n  remove one from the room")
    assert not await at.seat.enter("/help nosuch")


async def test_a_message_with_escape_sequences_is_shown_without() -> None:
    at = At()
    at.seat.hear(message(1, "A\x1b[31mda", "\x1b[2J\x1b]0;owned\x07hello\u202e"))
    assert (at.screen.lines[-1].name, at.screen.texts[-1]) == ("Ada", "hello")


async def test_the_kept_message_is_the_one_that_came() -> None:
    at = At()
    at.seat.hear(message(1, "Ada", "x\x1b[2J"))
    kept = at.seat.view.messages[1]
    assert isinstance(kept, Message)
    assert kept.content == "x\x1b[2J"
