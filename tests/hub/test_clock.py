"""Clocks that are set back and forth by hours: a room's time goes on, and nothing lasts longer than it should."""

import random
import time
from pathlib import Path

from palaver.core.entry import LAST_SECOND
from palaver.core.state import RoomState
from palaver.hub.clock import SteadyClock
from tests.hubs import joined, running

HOUR = 3600.0


class Hands:
    """A clock on the wall that somebody sets, and the seconds that nobody can."""

    def __init__(self) -> None:
        self.wall, self.steady = 1.8e9, 0.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, steady=lambda: self.steady)


def test_time_goes_on_as_it_should_while_the_wall_is_set_back_and_forth() -> None:
    hands = Hands()
    clock, dice = hands.clock(), random.Random(5)
    before = clock()
    for _ in range(2000):
        seconds = dice.random() * 10
        hands.pass_(seconds)
        hands.wall += dice.choice((0, 0, 0, 2 * HOUR, -2 * HOUR, 300 * HOUR, -300 * HOUR))
        now = clock()
        assert 0.94 * seconds < now - before < 1.06 * seconds
        before = now


def test_it_comes_to_agree_with_the_wall_again() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.wall -= HOUR
    for _ in range(21 * 60):
        hands.pass_(60)
        clock()
    assert abs(clock() - hands.wall) < 1e-3


def test_a_wall_beyond_the_calendar_is_held_to_it() -> None:
    assert SteadyClock(lambda: -5.0)() < 1
    assert SteadyClock(lambda: 1e15)() <= LAST_SECOND


async def test_a_lease_slow_mode_and_a_mute_last_as_long_as_said_though_the_log_is_of_a_later_hour(
    tmp_path: Path,
) -> None:
    """The hub restarts after its clock was put right, two hours back: nobody waits two hours."""

    def quick(state: RoomState) -> None:
        state.floor.lease = 1.0

    async with (
        running(tmp_path, clock=lambda: time.time() + 2 * HOUR, defaults=quick) as hub,
        joined(hub.url, "Bot", "model"),
        joined(hub.url, "Ann") as ann,
    ):
        await ann.say("hello")
        first = ann.messages()[-1]
    async with running(tmp_path, defaults=quick) as hub, joined(hub.url, "Ann") as ann:
        async with joined(hub.url, "Bot", "model") as bot:
            started = time.monotonic()
            await bot.until("grant")  # and does not answer
            await ann.until("presence", name="Bot", state="away")
            assert time.monotonic() - started < 5
            await ann.command("/mute Bot 1s")
            assert (await bot.say("x"))["code"] == "muted"
            await ann.say("Bot?")
            await bot.until("grant")
            assert time.monotonic() - started < 9
        assert ann.messages()[-1]["timestamp"] > first["timestamp"]


async def test_a_wall_that_jumps_takes_the_floor_from_nobody(tmp_path: Path) -> None:
    ahead = 0.0
    async with (
        running(tmp_path, clock=lambda: time.time() + ahead) as hub,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "Bot", "model") as bot,
    ):
        stamps = []
        for ahead in (0.0, 5 * HOUR, -5 * HOUR, 300 * HOUR):
            await ann.say(f"ahead {ahead}")
            turn = (await bot.until("grant"))["turn"]
            await ann.command("/status")
            assert (await bot.say("here", turn=turn))["type"] == "ack"
            stamps.append((await ann.until("message", role="model"))["timestamp"])
        assert stamps == sorted(stamps)
        assert abs(hub.hub.rooms["main"].now() - time.time()) < 5
