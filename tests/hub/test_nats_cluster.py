"""The log on three nats-servers: one of them may be killed at any time, and nothing is lost."""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from palaver.core.state import encode_state
from palaver.hub.nats_broker import Broker
from palaver.hub.nats_follower import Follower, Followers
from palaver.hub.nats_log import NatsLog
from tests.hub.taken import Taken, entry
from tests.hubs import Member, joined
from tests.nats_server import NatsCluster, hub_on, nats_cluster, until
from tests.processes import program

pytestmark = pytest.mark.system


async def _talk(member: Member, name: str, said: dict[str, int], enough: asyncio.Event) -> None:
    """Say one thing after the other, each until it is acknowledged; `said` has the numbers that they got."""
    while not enough.is_set():
        ident = f"{name} {len(said)}"
        while (answer := await member.say(ident, id=ident))["type"] == "nack":
            assert answer["code"] == "unavailable", answer
            await asyncio.sleep(answer["retry_after"])
        said[ident] = answer["seq"]
        await asyncio.sleep(0.002)


async def _everything(member: Member, last: int) -> list[tuple[int, str]]:
    """What a member has been sent, once it has the message of that number."""
    while not any(frame["seq"] >= last for frame in member.messages()[-1:]):
        await member.next()
    return [(frame["seq"], frame["content"]) for frame in member.messages()]


async def test_the_leader_of_a_cluster_is_killed_under_load_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Everything acknowledged is there once, in one order everywhere; it goes on without the one that was killed."""
    async with nats_cluster(tmp_path / "nats") as cluster, AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(hub_on(cluster, name)) for name in ("one", "two")]
        members = [await stack.enter_async_context(joined(hub.url, f"{hub.port}")) for hub in hubs]
        said: list[dict[str, int]] = [{}, {}]
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as talking:
            for member, hub, numbers in zip(members, hubs, said, strict=True):
                talking.create_task(_talk(member, f"{hub.port}", numbers, enough))
            await until(lambda: min(map(len, said)) >= 50, 30)
            await cluster.servers[await cluster.leader()].kill()
            before = [len(numbers) for numbers in said]
            await until(lambda: all(len(now) >= then + 50 for now, then in zip(said, before, strict=True)), 60)
            enough.set()
        last = max(max(numbers.values()) for numbers in said)
        one, two = [await _everything(member, last) for member in members]
        assert one == two
        assert [seq for seq, _ in one] == list(range(1, last + 1))
        places = {content: seq for seq, content in one}
        assert len(places) == len(one)
        assert places == said[0] | said[1]
        rooms = [hub.hub.rooms["main"].state for hub in hubs]
        await until(lambda: rooms[0].applied == rooms[1].applied)
        assert encode_state(rooms[0]) == encode_state(rooms[1])


async def test_a_hub_that_starts_before_its_cluster_has_a_leader_waits_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also: a log that has fewer replicas than a hub asks for is given them."""
    cluster = NatsCluster(tmp_path)
    one, two = NatsLog(cluster.url, hub="one"), cluster.log("two")
    try:
        with caplog.at_level(logging.WARNING):
            await cluster.start(0)
            opening = asyncio.create_task(one.open())
            await until(lambda: "waiting for up to 60 s" in caplog.text, 30)
            assert f"log at 127.0.0.1:{cluster.servers[0].port}: " in caplog.text
            await asyncio.gather(cluster.start(1), cluster.start(2))
            async with asyncio.timeout(40):
                await opening
            assert "palaver-log is on one server of the cluster only: --log-replicas 3" in caplog.text
        assert await _replicas(one) == (1, 1)
        await two.open()
        await two.close()
        assert await _replicas(one) == (3, 3)
    finally:
        await one.close()
        await cluster.kill()


async def test_a_hub_that_waits_for_its_cluster_can_be_ended(tmp_path: Path) -> None:
    cluster = NatsCluster(tmp_path)
    try:
        await cluster.start(0)
        flags = ("--port", "0", "--data-dir", str(tmp_path / "data"), "--no-transcripts", "--log", cluster.url)
        async with program("server.py", *flags) as server:
            await server.until("waiting for up to 60 s")
            server.signal(signal.SIGTERM)
            assert await server.exit(30) == 0
            assert "Traceback" not in server.output
            assert "ws://" not in server.output
    finally:
        await cluster.kill()


async def _replicas(log: NatsLog) -> tuple[int | None, ...]:
    """Of both streams."""
    found = [await log._broker.jetstream.stream_info(stream) for stream in ("palaver-log", "palaver-snapshots")]
    return tuple(info.config.num_replicas for info in found)


async def test_a_server_that_is_gone_takes_the_consumers_that_it_had_with_it_only_for_seconds(tmp_path: Path) -> None:
    """A consumer lies on one server of the three: its silence, and that of all others there, is noticed."""
    async with nats_cluster(tmp_path / "nats") as cluster:
        first = cluster.log("first")
        await first.open()
        await first.close()
        leader = await cluster.leader()
        log = NatsLog(cluster.servers[leader].url, hub="one")
        await log.open()
        rooms = {f"room-{number}": Taken() for number in range(30)}
        try:
            for room, taken in rooms.items():
                log.tail(room, 0, taken)
            await until(lambda: all(_server(log, room) for room in rooms), 30)
            gone = next(
                name for name in "abc" if name != "abc"[leader] and name in {_server(log, one) for one in rooms}
            )
            silent = {room: taken for room, taken in rooms.items() if _server(log, room) == gone}
            await cluster.servers["abc".index(gone)].kill()
            async with asyncio.timeout(60):
                await asyncio.gather(*(_say(log, room, taken) for room, taken in silent.items()))
        finally:
            await log.close()


async def _say(log: NatsLog, room: str, taken: Taken) -> None:
    """Hand an entry over until it has come back."""

    def answered() -> int:
        return len(taken.ids) + len(taken.turned_away)

    handed = 0
    while not taken.ids:
        handed += 1
        log.append(entry(handed, room))
        await until(lambda handed=handed: answered() == handed, 60)  # type: ignore[misc]  # bound now


async def test_of_a_silent_server_all_consumers_are_made_elsewhere_at_the_quickest_ones_word() -> None:
    async def ready() -> None: ...

    followers = Followers(Broker([], "one", on_up=ready, on_down=lambda: None))
    made = []
    for number in range(30):
        one = Follower(followers, "stream", "subject", 1, lambda number, message: None)
        one.token, one.server = str(number), "abc"[number % 3]
        one.pace = followers.register(one, one.token)
        made.append(one)
    assert [one.pace for one in made] == [1] * 10 + [5] * 20
    followers.beats = 4
    heard = made[1:3]  # one consumer of each of the servers b and c
    for one in heard:
        one.heard_at = 3
    silent = {one.token for one in followers._silent()}
    assert silent == {one.token for one in made if one.server == "a" or (one.pace == 1 and one.heard_at == 0)}
    followers.beats = 15
    for one in heard:
        one.heard_at = 15
    assert all(one.server == "a" or one.pace == 1 for one in followers._silent())
    followers.beats = 16
    assert len(followers._silent()) == 28


def _server(log: NatsLog, room: str) -> str:
    """Where in the cluster a room's consumer lies; empty until it is there."""
    follower: Any = log._tails[room].follower
    return str(follower.server) if follower else ""
