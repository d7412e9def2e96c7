"""The link: what it hands on, exactly once and in order, and how it comes back or stays away."""

import asyncio
import logging
from typing import Any

import pytest

from palaver.core.errors import AccessDenied, ConfigError, NameTaken, PalaverError, ProtocolError
from palaver.core.message import Message
from palaver.core.protocol import Ack, Close, Command, Delta, Error, Join, Leave, Nack, Say, Status, Welcome
from palaver.participants.link import Link, LinkDown, full_jitter
from tests.hubs import running
from tests.participants.fake_hub import FakeHub, fake_hub, message
from tests.patience import within


def link_to(hub: FakeHub, name: str = "Ada", **fields: Any) -> Link:
    return Link(hub.url, Join(name=name, role="moderator", **fields), wait=lambda attempt: 0.0)


async def until(link: Link, kind: type) -> Any:
    """The next thing of that kind that the link hands on."""
    async with asyncio.timeout(10):
        async for received in link:
            if isinstance(received, kind):
                return received
    raise AssertionError(f"the link ended without a {kind.__name__}")


async def messages(link: Link, count: int) -> list[int]:
    """The `seq` of the next messages."""
    return [(await until(link, Message)).seq for _ in range(count)]


async def test_joins_under_its_own_secret_and_hands_on_the_welcome() -> None:
    async with fake_hub() as hub, link_to(hub, token="t") as link:
        seat = await hub.joined()
        assert (seat.join.name, seat.join.token, seat.join.after) == ("Ada", "t", None)
        assert len(seat.join.session or "") >= 16
        await seat.welcome(seq=3)
        assert (await until(link, Welcome)).seq == 3
        assert link.is_up


async def test_resumes_after_the_last_seq_and_hands_each_message_on_once() -> None:
    async with fake_hub() as hub, link_to(hub) as link:
        seat = await hub.joined()
        await seat.welcome(seq=2, missed=2)
        await seat.send(message(1), message(2), message(3))
        assert await messages(link, 3) == [1, 2, 3]
        seat.drop()
        again = await hub.joined()
        assert (again.join.after, again.join.session) == (3, seat.join.session)
        await again.welcome(seq=5, missed=3)
        await again.send(message(3), message(4), message(5), message(6))
        assert await messages(link, 3) == [4, 5, 6]


async def test_a_thousand_random_cuts_lose_double_and_reorder_nothing() -> None:
    async with fake_hub() as hub, link_to(hub) as link:

        async def cut_again_and_again() -> None:
            written = 0
            while written < 1000:
                seat = await hub.joined()
                after = seat.join.after or 0
                written = max(written, after) + 1
                await seat.welcome(seq=written, missed=written - after)
                await seat.send(*[message(seq) for seq in range(max(1, after - 1), written + 1)])
                if written % 3:
                    seat.drop()
                else:
                    await seat.close(Close.SLOW)

        cutter = asyncio.create_task(cut_again_and_again())
        assert await messages(link, 1000) == list(range(1, 1001))
        await cutter


async def test_a_welcome_to_an_empty_room_is_resumed_from_its_beginning() -> None:
    async with fake_hub() as hub, link_to(hub):
        seat = await hub.joined()
        await seat.welcome(seq=0)
        await seat.close(Close.GOING_AWAY)
        assert (await hub.joined()).join.after == 0


async def test_a_drop_before_the_first_history_has_come_asks_for_history_again() -> None:
    async with fake_hub() as hub, link_to(hub):
        seat = await hub.joined()
        await seat.welcome(seq=9, missed=5)
        await seat.close(Close.GOING_AWAY)
        assert (await hub.joined()).join.after is None


async def test_a_hub_whose_log_was_replaced_is_read_from_its_beginning() -> None:
    async with fake_hub() as hub, link_to(hub, after=50) as link:
        await (await hub.joined()).welcome(seq=2)
        seat = await hub.joined()
        assert seat.join.after == 0
        await seat.welcome(seq=2, missed=2)
        await seat.send(message(1), message(2))
        assert await messages(link, 2) == [1, 2]


async def test_an_unanswered_message_is_sent_again_under_the_same_id() -> None:
    async with fake_hub() as hub, link_to(hub) as link:
        saying = asyncio.create_task(link.say("hello", meta={"model": "tiny"}))
        seat = await hub.joined()
        await seat.welcome()
        first = await seat.receive_a(Say)
        seat.drop()
        again = await hub.joined()
        await again.welcome()
        second = await again.receive_a(Say)
        assert second == first
        assert (first.content, first.meta) == ("hello", {"model": "tiny"})
        await again.send(Ack(id=second.id, seq=1))
        answer = await saying
        assert isinstance(answer, Ack) and answer.seq == 1


async def test_an_answered_message_is_not_sent_again() -> None:
    async with fake_hub() as hub, link_to(hub) as link:
        saying = asyncio.create_task(link.say("one"))
        seat = await hub.joined()
        await seat.welcome()
        await seat.send(Ack(id=(await seat.receive_a(Say)).id, seq=1))
        await saying
        seat.drop()
        again = await hub.joined()
        await again.welcome(seq=1)
        asking = asyncio.create_task(link.command("/who"))
        command = await again.receive()
        assert isinstance(command, Command) and command.text == "/who"
        await again.send(Nack(id=command.id, code="not_allowed", reason="no"))
        assert isinstance(await asking, Nack)


async def test_a_message_that_no_hub_takes_is_refused_before_it_is_sent() -> None:
    async with fake_hub() as hub, link_to(hub) as link:
        with pytest.raises(ProtocolError, match="70000 characters"):
            await link.say("x" * 70_000)
        with pytest.raises(ProtocolError, match="meta"):
            await link.say("x", meta={"long": "y" * 300_000})


async def test_a_personality_that_no_hub_takes_is_told_before_it_connects() -> None:
    async with fake_hub() as hub:
        with pytest.raises(ProtocolError, match="personality of Ada is too long: joining would take 3"):
            await link_to(hub, settings={"persona": "long " * 60_000}).__aenter__()


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (Close.NAME_TAKEN, NameTaken, "already taken.*--name gives another"),
        (Close.ACCESS_DENIED, AccessDenied, "already taken"),
        (Close.KICKED, AccessDenied, "kicked out of room 'main'"),
        (Close.BANNED, AccessDenied, "already taken"),
        (Close.BAD_FRAME, ProtocolError, "already taken"),
    ],
)
async def test_a_close_code_of_4500_and_above_keeps_it_away(code: Close, error: type[Exception], text: str) -> None:
    """A2.7: a refused client does not come back, and says why."""
    async with fake_hub() as hub, link_to(hub) as link:
        waiting = asyncio.create_task(link.say("never"))
        seat = await hub.joined()
        await seat.send(Error(code="refused", reason="Name 'Ada' is already taken. Connection rejected."))
        await seat.close(code)
        with pytest.raises(error, match=text):
            await until(link, Welcome)
        with pytest.raises(error, match=text):
            await waiting
        with pytest.raises(error, match=text):
            await link.say("later")


async def test_what_ends_the_link_is_raised_and_not_logged_besides(caplog: pytest.LogCaptureFixture) -> None:
    async with fake_hub() as hub, link_to(hub) as link:
        seat = await hub.joined()
        await seat.send(Error(code="bad_frame", reason="no JSON"), Error(code="access_denied", reason="no token"))
        await seat.close(Close.ACCESS_DENIED)
        with pytest.raises(AccessDenied, match="no token"):
            await until(link, Welcome)
    assert "no JSON" in caplog.text and "no token" not in caplog.text


async def test_the_end_of_the_room_is_the_end_of_the_iteration() -> None:
    async with fake_hub() as hub, link_to(hub) as link:
        seat = await hub.joined()
        await seat.welcome()
        await seat.close(Close.ROOM_ENDED)
        received = [received async for received in link]
        assert [type(each) for each in received] == [Welcome]


async def test_a_hub_that_is_not_there_yet_is_tried_again_visibly(caplog: pytest.LogCaptureFixture) -> None:
    """A2.8: nothing waits in silence."""
    async with fake_hub() as hub:
        await hub.close()
        with caplog.at_level(logging.WARNING):
            async with link_to(hub) as link:
                down = await until(link, LinkDown)
                assert hub.url in down.reason and down.attempt == 1
                await hub.open()
                await (await hub.joined()).welcome()
                await until(link, Welcome)
        assert f"no hub at {hub.url}: nobody listens there (is server.py running" in caplog.text
        assert "; trying again in 0." in caplog.text


async def test_several_hubs_are_tried_in_turn() -> None:
    async with fake_hub() as gone, fake_hub() as hub:
        await gone.close()
        async with Link(f"{gone.url}, {hub.url}", Join(name="Ada", role="observer"), wait=lambda n: 30.0) as link:
            await (await hub.joined()).welcome()
            await until(link, Welcome)


async def test_streamed_text_without_a_connection_is_dropped_and_readiness_is_remembered() -> None:
    async with fake_hub() as hub, link_to(hub, ready=False) as link:
        assert link.send(Delta(turn=1, text="x")) is False
        assert link.send(Status(state="ready")) is False
        seat = await hub.joined()
        await seat.close(Close.GOING_AWAY)
        assert (await hub.joined()).join.ready is True


async def test_what_a_stuck_socket_cannot_take_is_bounded() -> None:
    async with fake_hub() as hub, link_to(hub) as link:
        seat = await hub.joined()
        await seat.welcome()
        await until(link, Welcome)
        sent = [link.send(Delta(turn=1, text="x")) for _ in range(2000)]
        assert sent.count(True) == 500
        assert link.send(Status(state="ready")) is True
        seat.drop()


async def test_closing_says_goodbye_after_all_that_was_sent() -> None:
    async with fake_hub() as hub:
        async with link_to(hub) as link:
            seat = await hub.joined()
            await seat.welcome()
            await until(link, Welcome)
            link.send(Delta(turn=1, text="last"))
            closing = asyncio.create_task(link.close("done"))
            assert isinstance(await seat.receive(), Delta)
            assert await seat.receive() == Leave(reason="done")
            await closing
        assert [received async for received in link] == []
        with pytest.raises(PalaverError, match="closed"):
            await link.say("too late")


async def test_closing_ends_a_wait_for_a_hub_that_never_comes() -> None:
    async with fake_hub() as hub:
        await hub.close()
        async with asyncio.timeout(within(1)):
            async with Link(hub.url, Join(name="Ada", role="observer"), wait=lambda n: 3600.0) as link:
                await until(link, LinkDown)


async def test_frames_of_a_newer_hub_are_skipped() -> None:
    async with fake_hub() as hub, link_to(hub) as link:
        seat = await hub.joined()
        await seat.welcome()
        await seat.socket.send('{"type":"poll","question":"?"}')
        await seat.send(message(1))
        assert await messages(link, 1) == [1]


@pytest.mark.parametrize(
    ("server", "text"),
    [
        ("http://127.0.0.1:1", r"'http://127.0.0.1:1' is no websocket URL \(scheme isn't ws or wss\)"),
        ("ws://127.0.0.1:99999", r"is no websocket URL \(Port out of range 0-65535\)"),
        ("ws://127.0.0.1:1,hub.example", "'hub.example' is no websocket URL"),
        (" , ", "names no URL"),
    ],
)
def test_a_url_that_cannot_be_one_is_named_before_any_is_tried(server: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Link(server, Join(name="Ada", role="observer"))


async def test_why_a_hub_refuses_a_url_is_told_in_its_words() -> None:
    async with running() as hub:
        with pytest.raises(AccessDenied, match="answered HTTP 400: a token in a URL ends up in logs"):
            async with Link(f"{hub.url}/?token=abc", Join(name="Ada", role="observer")) as link:
                await until(link, Welcome)


async def test_a_proxy_that_cannot_be_one_is_named() -> None:
    with pytest.raises(ConfigError, match="--proxy 'ftp://box' is no proxy's URL"):
        async with Link("ws://127.0.0.1:1", Join(name="Ada", role="observer"), proxy="ftp://me:hush@box") as link:
            await until(link, Welcome)


def test_waits_grow_with_jitter_up_to_a_bound() -> None:
    assert all(0.05 <= full_jitter(0) <= 0.55 for _ in range(100))
    many = [full_jitter(attempt) for attempt in range(5, 50) for _ in range(20)]
    assert max(many) <= 15.05
    assert len({round(seconds, 3) for seconds in many}) > 100
