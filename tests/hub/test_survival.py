"""What a hub survives: kill -9, SIGSTOP, members that do not read, cut connections, a full disk."""

import asyncio
import json
import random
import resource
import select
import signal
import socket
import sqlite3
import stat
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from palaver.core.entry import Entry
from palaver.core.errors import LogUnavailable
from palaver.core.transcript import from_lines
from palaver.hub import server
from palaver.hub.auth import SharedSecret
from palaver.hub.hub import Hub
from palaver.hub.server import listening
from palaver.hub.sqlite_log import SqliteLog
from tests.hubs import Member, joined, running
from tests.processes import hub_process


class Persistent:
    """A member that comes back with what it has seen, and sends again what was not acknowledged."""

    def __init__(self, name: str, role: str) -> None:
        self.name, self.role = name, role
        self.seen: dict[int, str] = {}
        self.acknowledged: dict[str, int] = {}
        self.pending: dict[str, str] = {}
        self.order: list[int] = []
        self.connection: Any = None
        self.changed = asyncio.Condition()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that an incoming frame makes true."""
        async with self.changed:
            await self.changed.wait_for(true)

    async def run(self, url: str) -> None:
        """Stay in the room through every end of the connection."""
        while True:
            try:
                async with connect(url, proxy=None) as self.connection:
                    join = {"type": "join", "name": self.name, "role": self.role, "session": f"secret {self.name}"}
                    await self.connection.send(json.dumps({**join, "after": max(self.seen, default=0)}))
                    async for raw in self.connection:
                        await self._take(json.loads(raw))
            except (OSError, ConnectionClosed):
                await asyncio.sleep(0.02)

    async def _take(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "welcome":
                for ident, content in list(self.pending.items()):
                    await self.connection.send(json.dumps({"type": "message", "id": ident, "content": content}))
            case "message":
                assert frame["seq"] not in self.seen, "delivered twice"
                self.seen[frame["seq"]] = f"{frame['from']}:{frame['content']}"
                self.order.append(frame["seq"])
            case "ack":
                self.acknowledged[frame["id"]] = frame["seq"]
                self.pending.pop(frame["id"], None)
        async with self.changed:
            self.changed.notify_all()

    async def shout(self, count: int) -> None:
        """Say so many things as fast as they are acknowledged, a few at a time."""
        for number in range(count):
            await self.until(lambda: len(self.pending) < 8)
            ident = f"{self.name} {number}"
            self.pending[ident] = ident
            try:
                await self.connection.send(json.dumps({"type": "message", "id": ident, "content": ident}))
            except (AttributeError, ConnectionClosed):
                await asyncio.sleep(0.02)
        await self.until(lambda: not self.pending)


@pytest.mark.system
async def test_acknowledged_messages_survive_kill_9_under_load(tmp_path: Path) -> None:
    """A2.8, A2.12: kill -9 under load, restart, resume: each acknowledged message once, no gap in `seq`, one view."""
    dice = random.Random(3)
    talkers = [Persistent(f"Talker {number}", "moderator") for number in range(3)]
    readers = [Persistent(f"Reader {number}", "observer") for number in range(2)]
    everybody = [*talkers, *readers]
    port = _free_port()
    tasks: list[asyncio.Task[None]] = []
    speaking: list[asyncio.Task[None]] = []
    for life in range(4):
        async with hub_process(tmp_path, port=port) as (url, hub):
            if not tasks:
                tasks = [asyncio.create_task(member.run(url)) for member in everybody]
                speaking = [asyncio.create_task(member.shout(600)) for member in talkers]
            if life < 3:
                await asyncio.sleep(0.5 + dice.random() * 0.5)
                hub.signal(signal.SIGKILL)
                await hub.exit()
                continue
            async with asyncio.timeout(60):
                await asyncio.gather(*speaking)
                await asyncio.gather(*(member.until(partial(_has_all, member)) for member in everybody))
            hub.signal(signal.SIGTERM)
            assert await hub.exit() == 0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    first = everybody[0].seen
    assert sorted(first) == list(range(1, 1801))
    assert len(set(first.values())) == 1800
    for member in everybody:
        assert member.seen == first
        assert member.order == sorted(member.order)
    for member in talkers:
        assert all(first[seq] == f"{member.name}:{ident}" for ident, seq in member.acknowledged.items())
    written = list(from_lines((tmp_path / "logs" / "main.jsonl").read_bytes().splitlines()))
    assert [message.seq for message in written] == list(range(1, 1801))
    assert {message.seq: f"{message.sender}:{message.content}" for message in written} == first


def _has_all(member: Persistent) -> bool:
    return max(member.seen, default=0) == 1800


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@pytest.mark.system
async def test_one_that_never_reads_delays_nobody_and_is_cut(tmp_path: Path) -> None:
    """A2.9: others get 10,000 messages in time, the slow one is dropped with a reason, memory stays bounded."""
    async with hub_process(tmp_path) as (url, hub):
        port = int(url.rpartition(":")[2])
        async with joined(url, "Ann") as ann, joined(url, "Bob", "observer") as bob:
            deaf = _raw_member(port, "Deaf")
            await ann.until("presence", name="Deaf")
            process = psutil.Process(hub.process.pid)
            before = process.memory_info().rss
            reading = asyncio.create_task(_count(bob, 10_000))
            worst = 0.0
            for batch in range(500):
                started = time.perf_counter()
                for number in range(20):
                    await ann.send({"type": "message", "id": f"{batch}.{number}", "content": "x" * 1000})
                await _answered(ann, f"{batch}.19")
                worst = max(worst, time.perf_counter() - started)
            assert await reading == list(range(1, 10_001))
            assert worst < 2.0
            gone = await _presence(ann, bob, "Deaf")
            assert "did not read" in gone["text"]
            grown = process.memory_info().rss - before
            assert grown < 24 * 2**20, f"{grown / 2**20:.0f} MiB"  # 10 MB were said; the archive and SQLite keep pages
            deaf.close()


async def _presence(ann: Member, bob: Member, name: str) -> dict[str, Any]:
    for frame in ann.seen + bob.seen:
        if frame["type"] == "presence" and (frame["name"], frame["state"]) == (name, "left"):
            return frame
    return await ann.until("presence", name=name, state="left")


async def _answered(member: Member, ident: str) -> None:
    while True:
        frame = await member.next()
        if frame["type"] == "message":
            member.seen.pop()
        if frame["type"] == "ack" and frame["id"] == ident:
            return


async def _count(member: Member, last: int) -> list[int]:
    seqs: list[int] = []
    while not seqs or seqs[-1] < last:
        frame = await member.next()
        if frame["type"] == "message":
            seqs.append(frame["seq"])
            member.seen.pop()
    return seqs


def _raw_member(port: int, name: str) -> socket.socket:
    """A websocket that joins and then never reads, with a small receive buffer."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(("127.0.0.1", port))
    one.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    while b"\r\n\r\n" not in one.recv(4096):
        pass
    body = json.dumps({"type": "join", "name": name, "role": "observer"}).encode()
    one.sendall(struct.pack("!BB", 0x81, 0x80 | len(body)) + b"\0\0\0\0" + body)
    return one


async def test_who_is_sent_away_and_does_not_read_is_reset_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FAREWELL", 0.1)
    async with running() as hub, joined(hub.url, "Ann") as ann:
        one = await asyncio.to_thread(_raw_member, hub.port, "Mute")
        await ann.until("presence", name="Mute")
        for _ in range(14):  # more than the kernel takes, less than what makes it slow
            await ann.say("x" * 50_000)
        resets = select.poll()
        resets.register(one, 0)
        assert (await ann.command("/kick Mute"))["type"] == "ack"
        with one:
            assert await asyncio.to_thread(resets.poll, 20_000)


@pytest.mark.system
async def test_a_hub_that_was_stopped_for_three_seconds_drops_nobody(tmp_path: Path) -> None:
    """HUB targets: SIGSTOP for 3 s, then SIGCONT: nobody is dropped, nothing is lost."""
    async with hub_process(tmp_path) as (url, hub), joined(url, "Ann") as ann, joined(url, "Bob", "observer") as bob:
        reading = asyncio.create_task(_count(bob, 400))
        for number in range(200):
            await ann.send({"type": "message", "id": str(number), "content": "x" * 2000})
        hub.signal(signal.SIGSTOP)
        await asyncio.sleep(3)
        for number in range(200, 400):
            await ann.send({"type": "message", "id": str(number), "content": "x" * 2000})
        hub.signal(signal.SIGCONT)
        assert await reading == list(range(1, 401))
        assert (await ann.say("all here"))["seq"] == 401


async def test_a_thousand_random_cuts_lose_and_double_nothing(tmp_path: Path) -> None:
    """HUB targets: reconnecting within history: 0 lost, 0 doubled, 0 out of order over 1,000 random cuts."""
    dice = random.Random(11)
    async with running(tmp_path, history=10) as hub, joined(hub.url, "Ann") as ann:
        seen: list[int] = []
        said = 0
        for _ in range(1000):
            connection = await connect(hub.url, proxy=None)
            join = {"type": "join", "name": "Bob", "role": "observer", "session": "s", "after": seen[-1] if seen else 0}
            await connection.send(json.dumps(join))
            for _ in range(dice.randrange(3)):
                said += 1
                await ann.send({"type": "message", "id": str(said), "content": str(said)})
            for _ in range(dice.randrange(6)):
                frame = json.loads(await connection.recv())
                if frame["type"] == "message":
                    seen.append(frame["seq"])
                elif frame["type"] == "welcome" and frame["missed"] == 0 and not said:
                    break
                if said and seen and seen[-1] >= said:
                    break
                if frame["type"] == "presence":
                    break
            connection.transport.abort()
        async with joined(hub.url, "Bob", "observer", session="s", after=seen[-1]) as bob:
            while seen[-1] < said:
                seen.append((await bob.until("message"))["seq"])
        assert seen == list(range(1, said + 1))


async def test_a_late_joiner_gets_the_last_messages_and_the_transcript_tells_the_same(tmp_path: Path) -> None:
    """A2.12: late joiner gets the last N; the JSONL transcript replays to the same history."""
    async with running(tmp_path, transcripts=tmp_path / "logs", history=5) as hub, joined(hub.url, "Ann") as ann:
        for number in range(12):
            await ann.say(f"number {number}")
        async with joined(hub.url, "Late", "observer") as late:
            assert [(await late.until("message"))["content"] for _ in range(5)] == [f"number {n}" for n in range(7, 12)]
        async with joined(hub.url, "Later", "observer", after=0) as later:
            everything = [(await later.until("message"))["content"] for _ in range(12)]
    lines = (tmp_path / "logs" / "main.jsonl").read_bytes().splitlines()
    assert [message.content for message in from_lines(lines)] == everything
    assert "> number 11" in (tmp_path / "logs" / "main.md").read_text()


async def test_a_room_is_as_it_was_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, joined(hub.url, "Ann") as ann:
        async with joined(hub.url, "Bot", "model"):
            await ann.command("/topic tea")
            await ann.command("/mute Bot")
            await ann.command("/pause")
        before = (await ann.command("/status"))["text"].split("\n")[0]
    async with running(tmp_path) as hub, joined(hub.url, "Ann") as ann:
        assert (await ann.command("/status"))["text"].split("\n")[0] == before
        assert (await ann.command("/topic"))["text"] == "topic: tea"
        async with joined(hub.url, "Bot", "model") as bot:
            assert (await bot.say("hello"))["code"] == "paused"
            await ann.command("/resume")
            assert (await bot.say("hello"))["code"] == "muted"


async def test_a_snapshot_of_another_version_costs_nothing_but_time(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, joined(hub.url, "Ann") as ann:
        await ann.say("hello")
        await ann.command("/topic tea")
    with sqlite3.connect(tmp_path / "palaver.sqlite3") as database:
        database.execute("UPDATE snapshots SET state = ?", (b'{"name":"main","seq":"many"}',))
    database.close()
    async with running(tmp_path) as hub, joined(hub.url, "Ann") as ann:
        assert (await ann.until("message"))["content"] == "hello"
        assert (await ann.command("/topic"))["text"] == "topic: tea"


def test_a_folder_that_a_hub_makes_is_its_owner_s_alone(tmp_path: Path) -> None:
    """Whispers and sessions lie there. One that was there before is as its owner wants it."""

    async def use(folder: Path) -> None:
        log = SqliteLog(folder)
        await log.open()
        await log.close()

    tmp_path.chmod(0o755)
    for folder, mode in ((tmp_path / "data", 0o700), (tmp_path, 0o755)):
        asyncio.run(use(folder))
        assert stat.S_IMODE(folder.stat().st_mode) == mode


async def test_two_hubs_do_not_share_a_folder(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(LogUnavailable, match="another hub uses"):
            await SqliteLog(tmp_path).open()


@pytest.mark.system
async def test_a_name_is_free_as_soon_as_a_killed_hub_is_back(tmp_path: Path) -> None:
    """Whoever comes first, as somebody new under a name of before, finds no seat of the life before in the way."""
    async with hub_process(tmp_path) as (url, hub), joined(url, "Ann", "model") as ann:
        await ann.command("/who")
        hub.signal(signal.SIGKILL)
        await hub.exit()

    class Slow(SqliteLog):
        """Takes its time before an entry has its place."""

        def append(self, entry: Entry) -> None:
            asyncio.get_running_loop().call_later(0.1, super().append, entry)

    log = Slow(tmp_path / "data")
    async with listening(Hub(log=log, archive=log), SharedSecret()) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with joined(f"ws://127.0.0.1:{port}", "Ann", "model") as again:
            assert [seat["name"] for seat in again.seen[0]["roster"]] == ["Ann"]


@pytest.mark.system
async def test_a_full_disk_is_said_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """The log cannot grow: messages are refused with `unavailable` and retry_after, the hub lives and recovers."""
    async with hub_process(tmp_path) as (url, hub), joined(url, "Ann") as ann:
        assert (await ann.say("before"))["seq"] == 1
        used = sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
        resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, (used + 4096, resource.RLIM_INFINITY))
        answers = [await ann.say("x" * 4000) for _ in range(40)]
        refused = [answer for answer in answers if answer["type"] == "nack"]
        assert refused
        assert {answer["code"] for answer in refused} == {"unavailable"}
        assert refused[0]["retry_after"] > 0
        resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        kept = len(answers) - len(refused) + 2
        assert (await ann.say("after"))["seq"] == kept
        async with joined(url, "Late", "observer", after=0) as late:
            seqs = [(await late.until("message"))["seq"] for _ in range(kept)]
        assert seqs == list(range(1, kept + 1))
