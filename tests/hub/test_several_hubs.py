"""Several hubs on one log: the same room on each, members who move, hubs that are lost and come back."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from palaver.core.entry import Elapsed
from palaver.core.message import Message
from palaver.core.protocol import Ack, Close, Join, Streamed, Welcome
from palaver.core.state import RoomState, encode_state
from palaver.hub import deadlines
from palaver.participants.link import Link, LinkDown
from tests.hubs import Member, RunningHub, joined, stranger
from tests.nats_server import NatsServer, hub_on, until
from tests.processes import ROOT, hub_process, program

pytestmark = pytest.mark.system


def brisk(state: RoomState) -> None:
    """A room with short leases."""
    state.floor.lease = 1.0


def state_of(hub: RunningHub) -> RoomState:
    return hub.hub.rooms["main"].state


async def same_state(*hubs: RunningHub) -> bytes:
    """The one state of all hubs, once each has applied the same entries."""
    await until(lambda: len({state_of(hub).applied for hub in hubs}) == 1)
    states = {encode_state(state_of(hub)) for hub in hubs}
    assert len(states) == 1, [state.decode() for state in states]
    return states.pop()


# --- the same room everywhere ----------------------------------------------------------------------------------------

COMMANDS = (
    *("/pause", "/resume", "/resume", "/step 2", "/mute Ada 0.3s", "/unmute all", "/slow 0.2", "/slow off"),
    *("/policy round_robin", "/policy open", "/policy mention", "/floor Bob", "/stop Ada", "/topic tea", "/hops 40"),
    *("/budget Ada messages=500", "/approve on", "/approve off", "/ok all", "/redact 1", "/kick Ada", "/deafen Bob"),
)


async def _agent(urls: list[str], name: str, dice: random.Random) -> None:
    """A model that answers most grants, now on this hub, now on that one."""
    while True:
        try:
            async with joined(dice.choice(urls), name, "model", session=f"s {name}", after=0) as member:
                try:
                    await _answer(member, name, dice)
                finally:
                    member.connection.transport.abort()  # what it has not read would hold up its goodbye
        except (AssertionError, ConnectionClosed, OSError, TimeoutError):
            await asyncio.sleep(0.05)


async def _answer(member: Member, name: str, dice: random.Random) -> None:
    for _ in range(dice.randrange(20, 60)):
        frame = await member.next()
        if frame["type"] == "grant" and dice.random() < 0.9:
            await member.send({"type": "delta", "turn": frame["turn"], "text": "well"})
            said = {"type": "message", "id": f"{name} {frame['turn']}", "turn": frame["turn"]}
            await member.send({**said, "content": f"{name} says {dice.random()}"})


async def _moderator(url: str, name: str, dice: random.Random, steps: int) -> None:
    async with joined(url, name) as member:
        for _ in range(steps):
            if dice.random() < 0.5:
                await member.say(f"Ada, Bob? {dice.random()}")
            else:
                await member.command(dice.choice(COMMANDS))
            await asyncio.sleep(dice.random() * 0.03)
        member.connection.transport.abort()


async def test_every_hub_computes_the_same_room_byte_for_byte(nats: NatsServer) -> None:
    """A busy random run over two hubs: joins, words, commands, grants, pauses, timers; a third hub reads it later."""
    dice = random.Random(7)
    async with hub_on(nats, "one", defaults=brisk) as one, hub_on(nats, "two", defaults=brisk) as two:
        urls = [one.url, two.url]
        agents = [asyncio.create_task(_agent(urls, name, dice)) for name in ("Ada", "Bob", "Cid")]
        try:
            async with asyncio.timeout(40):
                await asyncio.gather(*(_moderator(url, f"Mod {place}", dice, 80) for place, url in enumerate(urls)))
        finally:
            for task in agents:
                task.cancel()
            await asyncio.gather(*agents, return_exceptions=True)
        async with joined(one.url, "Last") as last:
            await last.say("that is all")
        await same_state(one, two)
        assert state_of(one).seq > 60
        assert state_of(one).floor.turn > 10
        async with hub_on(nats, "three") as three:  # it begins with nothing, and with other defaults
            await three.hub.room("main")
            assert state_of(three).seq == state_of(one).seq
            await same_state(three, two, one)


async def test_a_room_begins_as_the_hub_was_told_where_it_is_opened(nats: NatsServer) -> None:
    """The first entry carries the floor: hubs with other defaults compute the same room."""

    def round_robin(state: RoomState) -> None:
        state.floor.policy, state.floor.hop_limit = "round_robin", 3

    async with (
        hub_on(nats, "one", defaults=round_robin) as one,
        hub_on(nats, "two") as two,
        joined(one.url, "Ann") as ann,
        joined(two.url, "Bob") as bob,
    ):
        assert "round_robin" in (await bob.command("/status"))["text"]
        await ann.say("hello")
        await same_state(one, two)


async def test_both_hubs_propose_a_timer_and_it_has_one_effect(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "LATER", 0.0)
    async with (
        hub_on(nats, "one", defaults=brisk) as one,
        hub_on(nats, "two", defaults=brisk) as two,
        joined(one.url, "Bot", "model"),
        joined(two.url, "Ann") as ann,
    ):
        await ann.say("well?")
        await ann.until("presence", name="Bot", state="away")
        log = nats.log("reader")
        await log.open()
        proposed: list[Any] = []
        while len(proposed) < 2:
            entries = await log.read("main", 0)
            proposed = [entry.frame for _, entry in entries if entry.frame == Elapsed(key="lease:1")]
        await log.close()
        await ann.command("/status")
        told = [frame for frame in ann.seen if frame["type"] == "presence" and frame["state"] == "away"]
        assert len(told) == 1
        await same_state(one, two)


async def test_a_name_is_one_persons_on_all_hubs(nats: NatsServer) -> None:
    async with hub_on(nats, "one") as one, hub_on(nats, "two") as two, joined(one.url, "Ann") as ann:
        async with stranger(two.url) as other:
            await other.send({"type": "join", "name": "ann", "role": "moderator"})
            assert (await other.next())["code"] == "name_taken"
        names = [f"Name {number}" for number in range(6)]
        async with AsyncExitStack() as stack:
            pairs = [[await stack.enter_async_context(stranger(hub.url)) for hub in (one, two)] for _ in names]
            for name, pair in zip(names, pairs, strict=True):
                for member in pair:
                    await member.send({"type": "join", "name": name, "role": "observer"})
            for pair in pairs:
                answers = sorted([(await member.next())["type"] for member in pair])
                assert answers == ["error", "welcome"]
        assert (await ann.say("still here"))["type"] == "ack"


# --- streamed text ---------------------------------------------------------------------------------------------------


async def test_streamed_text_reaches_members_of_other_hubs_and_keeps_the_floor(nats: NatsServer) -> None:
    """It is looked at there too: text of another turn is dropped. A lease counts from the last text on every hub."""
    async with hub_on(nats, "one", defaults=brisk) as one, hub_on(nats, "two", defaults=brisk) as two:
        await until(lambda: one.hub._log.is_alive("two") and one.hub._log._peers.are_there())  # type: ignore[attr-defined]
        async with joined(one.url, "Bot", "model") as bot, joined(two.url, "Ann") as ann:
            await ann.say("well?")
            turn = (await bot.until("grant"))["turn"]
            until_when = time.monotonic() + 2.8  # nearly three leases, and longer than another hub waits
            while time.monotonic() < until_when:
                await bot.send({"type": "delta", "turn": turn + 1, "text": "not mine"})
                await bot.send({"type": "delta", "turn": turn, "text": "so "})
                one.hub._log.tell(Streamed(room="main", sender="Bot", turn=turn + 1, text="of a hub that errs"))
                await asyncio.sleep(0.1)
            assert (await bot.say("so it is", turn=turn))["type"] == "ack"
            assert (await ann.until("message", content="so it is"))["turn"] == turn
            deltas = [frame for frame in ann.seen if frame["type"] == "delta"]
            assert len(deltas) > 10
            assert {(frame["from"], frame["turn"], frame["text"]) for frame in deltas} == {("Bot", turn, "so ")}


# --- members who move ------------------------------------------------------------------------------------------------


async def test_joining_again_by_another_hub_takes_the_seat_over(nats: NatsServer) -> None:
    async with hub_on(nats, "one") as one, hub_on(nats, "two") as two, joined(one.url, "Ann", session="s") as old:
        await old.say("first")
        async with joined(two.url, "Ann", session="s", after=0) as new, joined(one.url, "Bob") as bob:
            assert (await new.until("message"))["content"] == "first"
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await old.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == Close.TAKEN_OVER
            assert (await new.say("second", id="another"))["seq"] == 2
            assert (await bob.until("message", content="second"))["from"] == "Ann"
            assert [member.hub for member in state_of(one).members.values()] == ["two", "one"]
            await same_state(one, two)


class Mover:
    """A client with both URLs that goes on talking, and what it got."""

    def __init__(self, urls: list[str], name: str) -> None:
        self.link = Link(",".join(urls), Join(name=name, role="moderator"))
        self.messages: list[Message] = []
        self.acknowledged: dict[str, int | None] = {}
        self.away: list[float] = []
        self._lost_at = 0.0

    async def listen(self) -> None:
        async for frame in self.link:
            if isinstance(frame, Message):
                self.messages.append(frame)
            elif isinstance(frame, LinkDown) and not self._lost_at:
                self._lost_at = time.monotonic()
            elif isinstance(frame, Welcome) and self._lost_at:
                self.away.append(time.monotonic() - self._lost_at)
                self._lost_at = 0.0

    async def talk(self, until_when: asyncio.Event) -> None:
        number = 0
        while not until_when.is_set():
            number += 1
            text = f"{self.link.name} {number}"
            answer = await self.link.say(text)
            if isinstance(answer, Ack):
                self.acknowledged[text] = answer.seq


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_member_moves_to_another_hub_without_losing_a_message(
    nats: NatsServer, tmp_path: Path, how: signal.Signals
) -> None:
    """Moving a member from one hub to the other costs no message and takes less than 2 s."""
    async with AsyncExitStack() as stack:
        dying, living = [
            await stack.enter_async_context(
                hub_process(tmp_path / name, "--log", nats.url, "--hub-name", name, "--max-frame-rate", "0")
            )
            for name in ("one", "two")
        ]
        movers = [Mover([dying[0], living[0]], "Ann"), Mover([dying[0], living[0]], "Bea"), Mover([living[0]], "Cyd")]
        enough = asyncio.Event()
        for mover in movers:
            await stack.enter_async_context(mover.link)
        listening = [asyncio.create_task(mover.listen()) for mover in movers]
        await until(lambda: all(mover.link.is_up for mover in movers))
        talking = [asyncio.create_task(mover.talk(enough)) for mover in movers]
        await until(lambda: all(len(mover.messages) > 30 for mover in movers))
        dying[1].signal(how)
        await until(lambda: len(movers[0].away) == 1 and len(movers[1].away) == 1)
        seen = len(movers[0].messages)
        await until(lambda: all(len(mover.messages) > seen + 30 for mover in movers))
        enough.set()
        await asyncio.gather(*talking)
        last = max(seq or 0 for mover in movers for seq in mover.acknowledged.values())
        await until(lambda: all(mover.messages[-1].seq >= last for mover in movers))
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    first = {message.seq: message.content for message in movers[0].messages}
    for mover in movers:
        assert [message.seq for message in mover.messages] == list(range(1, mover.messages[-1].seq + 1))
        assert all(first.get(message.seq, message.content) == message.content for message in mover.messages)
        assert all(first[seq or 0] == text for text, seq in mover.acknowledged.items())
    assert len(set(first.values())) == len(first)
    assert not movers[2].away
    assert max(movers[0].away + movers[1].away) < 2.0, (movers[0].away, movers[1].away)


# --- hubs that are lost ----------------------------------------------------------------------------------------------


async def test_the_floor_goes_on_when_a_hub_is_lost(nats: NatsServer, tmp_path: Path) -> None:
    """kill -9 of the hub where the holder sits: its members are away, the next one is granted, names stay theirs."""
    async with AsyncExitStack() as stack:
        url, dying = await stack.enter_async_context(
            hub_process(tmp_path, "--log", nats.url, "--hub-name", "dying", "--policy", "round_robin")
        )
        living = await stack.enter_async_context(hub_on(nats, "living", lease=2.0))
        bot = await stack.enter_async_context(joined(url, "Bot", "model", session="s"))
        other = await stack.enter_async_context(joined(living.url, "Other", "model"))
        ann = await stack.enter_async_context(joined(living.url, "Ann"))
        await ann.say("well?")
        assert (await bot.until("grant"))["turn"] == 1
        dying.signal(signal.SIGKILL)
        await ann.until("presence", name="Bot", state="away", text="its hub is lost")
        assert (await other.until("grant"))["turn"] == 2
        async with stranger(living.url) as thief:
            await thief.send({"type": "join", "name": "Bot", "role": "model"})
            assert (await thief.next())["code"] == "name_taken"
        assert (await other.say("I am here", turn=2))["type"] == "ack"
        async with joined(living.url, "Bot", "model", session="s", after=0) as again:
            await ann.until("presence", name="Bot", state="ready")
            assert (await again.until("grant"))["context"] == 2  # what it owed is asked of it again


async def test_a_hub_that_was_only_cut_off_says_that_its_members_are_there(nats: NatsServer) -> None:
    """It reads its own loss in the log; nobody has to connect again."""
    async with (
        hub_on(nats, "silent") as silent,
        hub_on(nats, "other", lease=2.0) as other,
        joined(silent.url, "Bob", "observer") as bob,
        joined(other.url, "Ann") as ann,
    ):
        await ann.say("hello")
        silent.hub._log._peers.close()  # type: ignore[attr-defined]  # it is not heard of any more
        await ann.until("presence", name="Bob", state="away")
        await ann.until("presence", name="Bob", state="ready")
        await ann.say("still there?")
        assert (await bob.until("message", content="still there?"))["seq"] == 2
        await until(lambda: "bob" not in state_of(other).lost)


async def test_a_hub_that_starts_again_gives_back_the_seats_of_its_earlier_life(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with hub_on(nats, "other") as other, joined(other.url, "Ann") as ann:
        async with (
            hub_process(tmp_path, "--log", nats.url, "--hub-name", "mortal") as (url, hub),
            joined(url, "Bob"),
        ):
            await ann.until("presence", name="Bob", state="joined")
            hub.signal(signal.SIGKILL)
            await hub.exit()
        async with (
            hub_process(tmp_path, "--log", nats.url, "--hub-name", "mortal") as (url, _),
            joined(url, "Cyd"),
        ):
            await ann.until("presence", name="Bob", state="left", text="hub restarted")
            await ann.until("presence", name="Cyd", state="joined")


# --- starting --------------------------------------------------------------------------------------------------------


async def test_a_server_without_its_broker_says_so(nats: NatsServer, tmp_path: Path) -> None:
    await nats.kill()
    async with program("server.py", "--port", "0", "--log", nats.url, "--data-dir", str(tmp_path)) as server:
        assert await server.exit() == 2
    assert f"no log at 127.0.0.1:{nats.port}" in server.output


def test_without_nats_py_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['nats'] = None; import palaver.cli; "
        f"sys.exit(palaver.cli.main(['server', '--log', 'nats://127.0.0.1:1', '--data-dir', {str(tmp_path)!r}]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert run.returncode == 1
    assert "pip install 'palaver[nats]'" in run.stderr


async def test_the_log_may_be_named_by_the_environment_and_a_hub_names_itself(
    nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL with a password belongs there; each data directory is a hub of its own, the same at every start."""
    monkeypatch.setenv("PALAVER_LOG", nats.url)
    async with (
        hub_process(tmp_path / "one") as (one, first),
        hub_process(tmp_path / "two") as (two, _),
        joined(one, "Ann"),
        joined(two, "Bob") as bob,
    ):
        first.signal(signal.SIGKILL)
        await first.exit()
        async with hub_process(tmp_path / "one") as (again, _), joined(again, "Cyd"):
            await bob.until("presence", name="Ann", state="left", text="hub restarted")
            await bob.until("presence", name="Cyd", state="joined")
