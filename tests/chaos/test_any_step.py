"""kill -9 of a process at each step of the protocol: the floor goes on, names are free, nothing is lost."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from palaver.core.message import Message
from palaver.core.protocol import Ack, Delta, Grant, Join, Revoke, Streamed, Welcome
from palaver.core.transcript import from_lines
from palaver.participants.link import Link
from tests.chaos.backends import WORDS
from tests.chaos.hubs import HubProcess
from tests.chaos.proxy import FaultyProxy
from tests.hubs import Member, joined, running
from tests.processes import ROOT, program

pytestmark = pytest.mark.system


def bot(url: str, backend: str, *flags: str) -> tuple[str, ...]:
    """The command line of the model client that is killed, or that comes after."""
    return ("client.py", "--name", "Bot", "--server", url, "--backend", f"tests.chaos.backends:{backend}", *flags)


# --- a model client --------------------------------------------------------------------------------------------------

CLIENT_STEPS = {
    "connecting": ("answering",),
    "seated": ("answering",),
    "granted": ("answering", "--delay", "60"),
    "streaming": ("hanging",),
    "revoked and not cancelled": ("stubborn",),
}


@pytest.mark.parametrize("step", CLIENT_STEPS)
async def test_a_model_client_may_be_killed_at_any_step(step: str, tmp_path: Path) -> None:
    async with (
        running(tmp_path) as hub,
        FaultyProxy(lambda: hub.port, random.Random(1), frozen=step == "connecting") as proxy,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "Second", "model") as second,
    ):
        assert (await ann.command("""/policy round_robin order='["Bot","Second"]'"""))["type"] == "ack"
        async with program(*bot(proxy.url, *CLIENT_STEPS[step])) as client:
            await _reach(step, ann, proxy)
            client.signal(signal.SIGKILL)
            await client.exit()
        proxy.heal()
        if step != "connecting":
            await ann.until("presence", name="Bot", state="left")
        if step == "connecting" or step == "seated":
            await ann.say("well?")
        elif step.startswith("revoked"):
            await ann.command("/resume")
        turn = (await second.until("grant"))["turn"]
        assert (await second.say("I go on", turn=turn))["type"] == "ack"
        async with program(*bot(hub.url, "answering")):
            if step == "connecting":  # it was never here, and so owes no answer yet
                await ann.until("presence", name="Bot", state="joined")
                await ann.say("and you?")
            assert (await ann.until("message", **{"from": "Bot"}))["content"].startswith("answer")
        said = [frame["content"] for frame in ann.messages()]
        assert WORDS not in said
        assert said.count("I go on") == 1


async def _reach(step: str, ann: Member, proxy: FaultyProxy) -> None:
    if step == "connecting":
        async with asyncio.timeout(20):
            await proxy.taken.wait()
        return
    await ann.until("presence", name="Bot", state="joined")
    if step == "seated":
        return
    await ann.say("well, Bot?")
    while not (holders := (await ann.until("floor"))["holders"]):
        pass
    assert holders[0]["name"] == "Bot"
    if step == "streaming":
        await ann.until("delta")
    elif step.startswith("revoked"):
        assert (await ann.command("/pause"))["type"] == "ack"


# --- the hub ---------------------------------------------------------------------------------------------------------


class Party:
    """Ann and a model behind proxies to a hub that is killed; both are links, which come back by themselves."""

    def __init__(self, hub: HubProcess, ann: FaultyProxy, model: FaultyProxy) -> None:
        self.hub, self.proxy_of_ann, self.proxy_of_model = hub, ann, model
        self.ann = Link(ann.url, Join(name="Ann", role="moderator", after=0), wait=lambda attempt: 0.02)
        self.model = Link(model.url, Join(name="Bot", role="model", after=0), wait=lambda attempt: 0.02)
        self.heard: dict[str, list[Any]] = {"Ann": [], "Bot": []}
        self._changed = asyncio.Condition()

    async def listen(self, link: Link) -> None:
        """Keep what comes."""
        async with link:
            async for frame in link:
                self.heard[link.join.name].append(frame)
                async with self._changed:
                    self._changed.notify_all()

    async def until(self, name: str, kind: type, count: int = 1) -> Any:
        """The so-manieth frame of that kind."""

        def found() -> list[Any]:
            return [frame for frame in self.heard[name] if isinstance(frame, kind)]

        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(found()) >= count)
        return found()[-1]


@asynccontextmanager
async def party(folder: Path) -> AsyncIterator[Party]:
    hub = HubProcess(folder, ("--policy", "round_robin"))
    await hub.start()
    dice = random.Random(1)
    try:
        async with FaultyProxy(lambda: hub.port, dice) as one, FaultyProxy(lambda: hub.port, dice) as other:
            guests = Party(hub, one, other)
            listening = [asyncio.create_task(guests.listen(link)) for link in (guests.ann, guests.model)]
            await guests.until("Ann", Welcome)
            await guests.until("Bot", Welcome)
            yield guests
            for link in (guests.ann, guests.model):
                await link.close()
            await asyncio.gather(*listening)
    finally:
        await hub.kill()


HUB_STEPS = (
    "a message is sent and not read",
    "a message is logged and its answer is lost",
    "a command is sent and not read",
    "granted",
    "streaming",
    "revoked and not cancelled",
    "an answer is sent and not read",
)


@pytest.mark.parametrize("step", HUB_STEPS)
async def test_a_hub_may_be_killed_at_any_step(step: str, tmp_path: Path) -> None:
    async with party(tmp_path) as guests:
        hub, ann, model = guests.hub, guests.ann, guests.model
        asked = [asyncio.create_task(ann.say("first"))]
        grant: Grant = await guests.until("Bot", Grant)
        await asked[0]
        match step:
            case "a message is sent and not read":
                hub.signal(signal.SIGSTOP)
                asked.append(asyncio.create_task(ann.say("second")))
                await asyncio.sleep(0.05)
            case "a message is logged and its answer is lost":
                wire = guests.proxy_of_ann.newest
                assert wire is not None
                wire.deafen()
                asked.append(asyncio.create_task(ann.say("second")))
                await guests.until("Bot", Message, 2)
            case "a command is sent and not read":
                hub.signal(signal.SIGSTOP)
                asked.append(asyncio.create_task(ann.command("/topic tea")))
                await asyncio.sleep(0.05)
            case "streaming":
                model.send(Delta(turn=grant.turn, text="so far "))
                await guests.until("Ann", Streamed)
            case "revoked and not cancelled":
                assert isinstance(await ann.command("/pause"), Ack)
                await guests.until("Bot", Revoke)
            case "an answer is sent and not read":
                hub.signal(signal.SIGSTOP)
                asked.append(asyncio.create_task(model.say("my answer", turn=grant.turn)))
                await asyncio.sleep(0.05)
        grants = sum(isinstance(frame, Grant) for frame in guests.heard["Bot"])
        await hub.kill()
        await hub.start()
        if step.startswith("revoked"):
            await guests.until("Ann", Welcome, 2)
            assert isinstance(await ann.command("/resume"), Ack)
        again: Grant = await guests.until("Bot", Grant, grants + 1)
        assert again.turn > grant.turn
        answers = await asyncio.gather(*asked)
        assert [isinstance(answer, Ack) for answer in answers][:1] == [True]
        assert isinstance(await model.say("and so on", turn=again.turn), Ack)
        last = await ann.say("the end")
        assert isinstance(last, Ack) and last.seq
        for name in guests.heard:
            await _heard_all(guests, name, last.seq)
        if step == "a command is sent and not read":
            assert "tea" in getattr(await ann.command("/topic"), "text", "")
        await hub.stop()
        said = [message.content for message in from_lines((tmp_path / "logs/main.jsonl").read_bytes().splitlines())]
    second = ["second"] if step.startswith("a message") else []
    assert sorted(said) == sorted(["first", *second, "and so on", "the end"])  # what had no place is not said twice
    for frames in guests.heard.values():
        seqs = [frame.seq for frame in frames if isinstance(frame, Message)]
        assert seqs == list(range(1, len(said) + 1))


async def _heard_all(guests: Party, name: str, seq: int) -> None:
    await guests.until(name, Message, seq)


# --- a moderator -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["hello all", "/pause", "/approve on", "/floor Bot for 3"])
async def test_a_moderator_may_be_killed_and_another_finds_the_room_as_it_was_left(line: str, tmp_path: Path) -> None:
    async with (
        running(tmp_path) as hub,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "Bot", "model") as model,
    ):
        killed = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(ROOT / "moderator.py"), "--server", hub.url, "--name", "Mod"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert killed.stdin is not None
        await ann.until("presence", name="Mod", state="joined")
        killed.stdin.write(f"{line}\n".encode())
        kind = "message" if line == "hello all" else "event"
        while (frame := await ann.until(kind)).get("from", frame.get("actor")) != "Mod":
            pass
        killed.kill()
        await killed.wait()
        await ann.until("presence", name="Mod", state="left")
        async with joined(hub.url, "Mod") as again:
            if line == "/pause":
                assert (await model.say("x"))["code"] == "paused"
                await again.command("/resume")
            if line != "hello all":
                await again.say("well?")
            turn = (await model.until("grant"))["turn"]
            answer = await model.say("here", turn=turn)
            assert answer["type"] == "ack"
            if line == "/approve on":
                assert answer["seq"] is None
                await again.command("/ok all")
            await ann.until("message", content="here")
