"""Members who missed some: each gets the rest once and in order, and a crowd costs hardly more than one."""

import asyncio

import pytest

from palaver.core.message import Message
from palaver.core.state import Record, RoomState
from palaver.hub import catch_up
from palaver.hub.catch_up import CatchUp
from palaver.hub.session import SOFT, Session
from tests.hub.test_outbox import Room, Wire, words


class Shelf:
    """An archive that counts what it is asked."""

    def __init__(self) -> None:
        self.lying: list[Message] = []
        self.asked: list[int] = []

    def record(self, room: str, messages: object) -> None: ...

    async def kept(self, room: str, after: int) -> int:
        return max((message.seq for message in self.lying), default=after)

    async def messages(self, room: str, after: int, limit: int) -> list[Message]:
        self.asked.append(after)
        await asyncio.sleep(0)
        return [message for message in self.lying if message.seq > after][:limit]


class Crowd:
    """A room whose members can be set aside and brought back."""

    def __init__(self) -> None:
        self.room = Room()
        self.state = RoomState(name="main", history_limit=4)
        self.shelf = Shelf()
        self.catching_up = CatchUp(self.state, self.shelf, self.room.outbox)
        self.room.outbox._on_behind = self.catching_up.behind.add

    def say(self, *contents: str, to: str | None = None) -> None:
        """Publish as a room does: into history, archive and outbox, and out."""
        for content in contents:
            said = self.room.say(content, to)
            self.state.seq = said.seq
            self.state.history = [*self.state.history, said][-self.state.history_limit :]
            self.shelf.lying.append(said)
        self.room.outbox.flush()

    def stop_reading(self, *wires: Wire) -> None:
        for wire in wires:
            wire.waiting = SOFT + 1

    async def read_again(self, *wires: Wire) -> None:
        for wire in wires:
            wire.waiting = 0
        async with asyncio.timeout(10):
            while self.catching_up.behind:
                assert self.catching_up.sweep() == []
                await asyncio.sleep(0)


async def test_a_crowd_that_was_set_aside_is_caught_up_from_memory() -> None:
    crowd = Crowd()
    members = [crowd.room.seat(f"m{number}") for number in range(20)]
    wires = [wire for _, wire in members]
    crowd.say("1")
    crowd.stop_reading(*wires)
    for number in range(2, 30):  # far more than the room's history holds
        crowd.say(str(number))
    assert crowd.catching_up.behind == {session for session, _ in members}
    await crowd.read_again(*wires)
    crowd.say("30")
    assert all(words(wire) == [str(number) for number in range(1, 31)] for wire in wires)
    assert not crowd.shelf.asked


async def test_where_memory_ends_a_crowd_shares_the_pages_of_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "PAGE", 10)
    crowd = Crowd()
    wires = [crowd.room.seat(f"m{number}")[1] for number in range(20)]
    crowd.say("1")
    crowd.stop_reading(*wires)
    crowd.say(*[str(number) for number in range(2, 35)])
    crowd.room.outbox.recent.forget()
    await crowd.read_again(*wires)
    crowd.say("35")
    assert all(words(wire) == [str(number) for number in range(1, 36)] for wire in wires)
    assert crowd.shelf.asked == [1, 11, 21]  # the rest was in the room's history


@pytest.mark.parametrize("remembered", [True, False])
async def test_whispers_reach_their_readers_alone(remembered: bool) -> None:
    crowd = Crowd()
    (_, to_bob), (_, to_cem) = crowd.room.seat("Bob"), crowd.room.seat("Cem")
    crowd.say("1")
    crowd.stop_reading(to_bob, to_cem)
    crowd.say("2")
    crowd.say("hush", to="Bob")
    crowd.say("4", "5", "6", "7", "8")
    if not remembered:
        crowd.room.outbox.recent.forget()
    await crowd.read_again(to_bob, to_cem)
    assert words(to_bob) == ["1", "2", "hush", "4", "5", "6", "7", "8"]
    assert words(to_cem) == ["1", "2", "4", "5", "6", "7", "8"]


@pytest.mark.parametrize("remembered", [True, False])
async def test_what_was_said_while_somebody_was_deafened_is_not_made_up_for(remembered: bool) -> None:
    crowd = Crowd()
    crowd.state.records["bob"] = Record(name="Bob", role="model", deaf=[[2, 3]])
    _, to_bob = crowd.room.seat("Bob")
    crowd.say("1")
    crowd.stop_reading(to_bob)
    for number in range(2, 10):
        crowd.say(str(number))
    if not remembered:
        crowd.room.outbox.recent.forget()
    await crowd.read_again(to_bob)
    assert words(to_bob) == ["1", "4", "5", "6", "7", "8", "9"]


async def test_a_redacted_text_is_not_sent_from_memory() -> None:
    crowd = Crowd()
    _, to_bob = crowd.room.seat("Bob")
    crowd.say("1")
    crowd.stop_reading(to_bob)
    for number in range(2, 10):
        crowd.say("secret" if number == 3 else str(number))
    crowd.shelf.lying[2] = Message(
        room="main", seq=3, id="", sender="Ann", role="moderator", content="gone", timestamp="", redacted="a secret"
    )
    crowd.catching_up.forget_text()
    await crowd.read_again(to_bob)
    assert words(to_bob) == ["1", "2", "gone", "4", "5", "6", "7", "8", "9"]


async def test_no_more_is_sent_at_once_than_may_wait() -> None:
    crowd = Crowd()
    slow, wire = crowd.room.seat("Slow")
    crowd.say("1")
    crowd.stop_reading(wire)
    for number in range(2, 40):
        crowd.say(str(number) + "x" * 50_000)
    wire.stuck = True
    most = 0
    while crowd.catching_up.behind:
        wire.waiting = 0  # all that lay there was read
        crowd.catching_up.sweep()
        for _ in range(20):
            await asyncio.sleep(0)
        assert wire.waiting <= SOFT + 100_000
        most = max(most, wire.waiting)
    assert most > SOFT // 2
    assert [word.rstrip("x") for word in words(wire)] == [str(number) for number in range(1, 40)]
    assert slow.delivered == 39


async def test_one_that_makes_no_progress_is_hopeless_after_twenty_sweeps() -> None:
    crowd = Crowd()
    (deaf, wire), (_, reading) = crowd.room.seat("Deaf"), crowd.room.seat("Ann")
    crowd.stop_reading(wire)
    crowd.say("1")
    verdicts: list[list[tuple[Session, str]]] = [crowd.catching_up.sweep() for _ in range(catch_up.PATIENCE + 1)]
    assert [bool(verdict) for verdict in verdicts].index(True) >= catch_up.PATIENCE - 1
    assert verdicts[-1][0][0] is deaf
    assert "did not read" in verdicts[-1][0][1]
    assert words(reading) == ["1"]
