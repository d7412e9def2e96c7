"""The log on NATS JetStream, over a real server that is killed and started again."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from palaver.core.errors import ConfigError, LogUnavailable
from palaver.core.state import encode_state
from palaver.hub import nats_archive
from palaver.hub.nats_broker import Broker
from palaver.hub.nats_log import NatsLog
from palaver.hub.nats_streams import parse, room_of, token_of
from palaver.hub.replaying import replay
from tests.hub.taken import Taken, entry
from tests.hubs import joined
from tests.nats_server import NatsServer, hub_on, is_connected, until

pytestmark = pytest.mark.system


@asynccontextmanager
async def opened(server: NatsServer, hub: str = "one", room: str = "main") -> AsyncIterator[tuple[NatsLog, Taken]]:
    log, taken = server.log(hub), Taken()
    await log.open()
    log.tail(room, 0, taken)
    try:
        yield log, taken
    finally:
        await log.close()


async def test_entries_come_back_in_order_on_every_hub(nats: NatsServer) -> None:
    async with opened(nats, "one") as (one, heard_by_one), opened(nats, "two") as (two, heard_by_two):
        for number in range(300):
            (one if number % 3 else two).append(entry(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await heard_by_one.until(lambda: len(heard_by_one.ids) == 300)
        await heard_by_two.until(lambda: len(heard_by_two.ids) == 300)
        assert heard_by_one.ids == heard_by_two.ids
        assert heard_by_one.positions == heard_by_two.positions == sorted(set(heard_by_one.positions))
        assert [number for number in heard_by_one.ids if number % 3] == [n for n in range(300) if n % 3]
        assert [int(one.id) for _, one in await one.read("main", 0)] == heard_by_one.ids
        half = heard_by_one.positions[150]
        assert [position for position, _ in await two.read("main", half)] == heard_by_one.positions[151:]
        assert (await one.read("main", 0, 10))[0][0] == heard_by_one.positions[0]


async def test_rooms_with_dots_do_not_hear_each_other(nats: NatsServer) -> None:
    async with opened(nats, room="a.b") as (log, taken):
        other = Taken()
        log.tail("a.c", 0, other)
        log.append(entry(1, "a.b"))
        log.append(entry(2, "a.c"))
        log.append(entry(3, "a-b"))
        await taken.until(lambda: bool(taken.ids))
        await other.until(lambda: bool(other.ids))
        assert (taken.ids, other.ids) == ([1], [2])
        assert await log.rooms() == ["a-b", "a.b", "a.c"]
    assert [room_of(token_of(room)) for room in ("a.b", "a", "a-b_c")] == ["a.b", "a", "a-b_c"]


async def test_a_hub_opens_more_rooms_than_a_server_allows_consumers_unasked(nats: NatsServer) -> None:
    async with opened(nats) as (log, _):
        listeners = {f"room-{number}": Taken() for number in range(1010)}
        for room, taken in listeners.items():
            log.tail(room, 0, taken)
        for number, room in enumerate(listeners):
            log.append(entry(number, room))
        for number, taken in enumerate(listeners.values()):
            await taken.until(lambda taken=taken: bool(taken.ids))  # type: ignore[misc]
            assert taken.ids == [number]


async def test_what_was_not_confirmed_when_the_server_was_killed_is_there_once(nats: NatsServer) -> None:
    """The fate of what was under way is unknown: it is sent again under its id, in order, and answered then."""
    async with opened(nats) as (log, taken):
        lives = 4
        for life in range(lives):
            killing: asyncio.Task[None] | None = None
            for number in range(life * 200, (life + 1) * 200):
                log.append(entry(number))
                if number % 5 == 0:
                    await asyncio.sleep(0)
                if number % 200 == 100:
                    killing = asyncio.create_task(nats.kill())
            assert killing is not None
            await killing
            await nats.start()
            total = (life + 1) * 200
            await taken.until_answered(total)
            await until(lambda: is_connected(log))
        assert taken.ids == sorted(set(taken.ids))
        assert not set(taken.ids) & set(taken.turned_away)
        assert [int(one.id) for _, one in await log.read("main", 0)] == taken.ids


async def test_a_connection_that_cannot_even_be_closed_is_given_up(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As nats-py's under uvloop, where something was unsent when the server was killed: it told nobody."""
    real = Client._close

    async def broken(self: Client, *arguments: Any) -> None:
        self._closed_cb = None
        await real(self, *arguments)
        raise RuntimeError("unable to perform operation; the handler is closed")

    async def ready() -> None: ...

    broker = Broker([nats.url], "one", on_up=ready, on_down=lambda: None)
    await broker.open()
    with monkeypatch.context() as patched:
        patched.setattr(Client, "_close", broken)
        await nats.kill()
        await until(lambda: not broker.is_up, 5)
    await nats.start()
    await until(lambda: broker.is_up)
    await broker.close()


async def test_a_hub_refuses_and_recovers_while_its_server_is_away(nats: NatsServer) -> None:
    """A broker that is away: members stay, messages are refused with retry_after, nothing acknowledged is lost."""
    async with hub_on(nats, "one") as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bob") as bob:
        assert (await ann.say("before"))["seq"] == 1
        await nats.kill()
        await until(lambda: not is_connected(hub.hub._log))  # type: ignore[arg-type]
        refused = await ann.say("meanwhile")
        assert (refused["type"], refused["code"]) == ("nack", "unavailable")
        assert refused["retry_after"] > 0
        assert refused["timestamp"] > ann.messages()[-1]["timestamp"]  # of now, not of the last entry
        await nats.start()
        await until(lambda: is_connected(hub.hub._log))  # type: ignore[arg-type]
        assert (await ann.say("after"))["seq"] == 2
        seen = [await bob.until("message"), await bob.until("message")]
        assert [frame["content"] for frame in seen] == ["before", "after"]


async def test_a_server_whose_store_is_full_is_said_and_nothing_acknowledged_is_lost(nats: NatsServer) -> None:
    await nats.kill()
    await nats.start(room="100KB")
    async with hub_on(nats, "one") as hub, joined(hub.url, "Ann") as ann:
        answers = [await ann.say("".join(random.choices("abcdefghij", k=4000))) for _ in range(60)]
        refused = [answer for answer in answers if answer["type"] == "nack"]
        assert refused
        assert {(answer["code"], answer["retry_after"]) for answer in refused} == {("unavailable", 1.0)}
        assert "insufficient" in refused[0]["reason"]
        await nats.kill()
        await nats.start()
        await until(lambda: is_connected(hub.hub._log))  # type: ignore[arg-type]
        kept = len(answers) - len(refused) + 1
        assert (await ann.say("after"))["seq"] == kept
        async with joined(hub.url, "Late", "observer", after=0) as late:
            assert [(await late.until("message"))["seq"] for _ in range(kept)] == list(range(1, kept + 1))


async def test_a_hub_that_starts_late_begins_with_a_snapshot_and_fills_in_its_archive(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said and redacted while the archive is behind comes after it; whoever asks for old messages waits."""

    async def slow(*arguments: Any, **options: Any) -> AsyncIterator[tuple[int, list[tuple[int, bytes]]]]:
        await asyncio.sleep(0.3)
        async for step in replay(*arguments, **options):
            yield step

    monkeypatch.setattr(nats_archive, "PART", 1000)
    async with hub_on(nats, "one") as hub, joined(hub.url, "Ann") as ann:
        for number in range(300):  # more than memory holds
            await ann.say(f"number {number} {'x' * 40}", id=str(number))
            if number == 100:
                assert (await ann.command("/redact 3"))["type"] == "ack"
    async with hub_on(nats, "one") as hub, joined(hub.url, "Ann") as ann:
        await ann.say("one more")
        monkeypatch.setattr(nats_archive, "replay", slow)
        async with hub_on(nats, "two") as late, joined(late.url, "Late", "observer", after=0) as reader:
            for number in range(3):
                await ann.say(f"and meanwhile {number}")
            assert (await ann.command("/redact 150"))["type"] == "ack"
            everything = [await reader.until("message") for _ in range(304)]
            assert [frame["seq"] for frame in everything] == list(range(1, 305))
            assert [frame["seq"] for frame in everything if frame["redacted"] is not None] == [3, 150]
            assert "number 2" not in everything[2]["content"]
            assert everything[249]["content"].startswith("number 249")
            one, two = hub.hub.rooms["main"].state, late.hub.rooms["main"].state
            await until(lambda: one.applied == two.applied)
            assert encode_state(one) == encode_state(two)


async def test_a_log_that_was_replaced_is_not_gone_on_with(nats: NatsServer, tmp_path: Path) -> None:
    """Rooms that are not of this log must not write into it."""
    async with opened(nats) as (log, taken):
        log.append(entry(1))
        await taken.until(lambda: bool(taken.ids))
        await nats.kill()
        nats.forget()
        await nats.start()
        await until(lambda: "another log" in log._broker.why)
        log.append(entry(2))
        await taken.until(lambda: bool(taken.turned_away))
        assert taken.turned_away == [2]


async def test_two_hubs_do_not_bear_one_name(nats: NatsServer) -> None:
    async with opened(nats, "one"):
        with pytest.raises(LogUnavailable, match="another hub of this log is called 'one'; choose another --hub-name"):
            await nats.log("one").open()
    async with opened(nats, "one"):
        pass


async def test_a_name_that_another_hub_took_while_we_were_away_is_not_ours(nats: NatsServer) -> None:
    """Asked at each connection: two hubs of one name would each hear the other's signs of life as their own."""
    async with opened(nats, "one") as (log, _):
        broker, servers = log._broker, log._broker.servers
        broker.servers = ["nats://127.0.0.1:1"]
        broker.lose("cut off")
        await until(lambda: not is_connected(log))
        async with opened(nats, "one"):
            broker.servers = servers
            await until(lambda: "another hub of this log is called 'one'" in broker.why)
            assert not is_connected(log)
        await until(lambda: is_connected(log))


async def test_without_a_server_it_is_said_where_none_is(nats: NatsServer) -> None:
    await nats.kill()
    with pytest.raises(LogUnavailable, match=f"no log at 127.0.0.1:{nats.port}"):
        await nats.log("one").open()


@pytest.mark.parametrize(
    "servers, says",
    [
        ("", "give nats://host:port"),
        ("http://one", "give nats://host:port"),
        ("nats://one/a.b", "1 to 64 letters"),
        ("nats://one/a,nats://two/b", "1 to 64 letters"),
        ("nats://one?tls=true", "takes no \\?"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_in_words(servers: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(servers)


def test_urls_name_servers_and_a_log() -> None:
    assert parse("nats://one:4222") == (["nats://one:4222"], "palaver")
    assert parse("nats://u:p@one:4222/team, tls://two") == (["nats://u:p@one:4222", "tls://two"], "team")
