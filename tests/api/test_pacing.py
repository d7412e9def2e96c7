"""A rush of conversations: they begin one after another, as fast as the loop keeps up, and all of them do."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from palaver.api.pacing import Pace
from palaver.api.plan import Plan
from palaver.models.model import Model
from palaver.scenes.episode import EpisodeLog
from palaver.scenes.progress import Progress
from tests.api.talks import WAIT, serving

LONG = 0.1
"""Seconds of a pass in a busy loop; a machine with other work makes it longer, never shorter."""
FOR_EVER = 3600.0


async def busy() -> None:
    """Keep the loop busy: every pass is a long one."""
    while True:
        _hold_up()
        await asyncio.sleep(0)


def _hold_up() -> None:
    time.sleep(LONG)


async def test_a_loop_that_has_little_to_do_lets_everybody_in_at_once_and_in_order() -> None:
    pace, begun = Pace(longest_pass=FOR_EVER), list[int]()

    async def one(number: int) -> None:
        await pace.wait()
        begun.append(number)

    await asyncio.gather(*map(one, range(100)))
    assert (begun, pace.waiting) == (list(range(100)), 0)


async def test_a_busy_loop_lets_nobody_in_until_it_has_caught_up() -> None:
    pace = Pace(longest_wait=FOR_EVER)
    work = asyncio.create_task(busy())
    waiting = [asyncio.create_task(pace.wait()) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert pace.waiting == 3
    work.cancel()
    async with asyncio.timeout(WAIT):
        await asyncio.gather(*waiting)
    assert pace.waiting == 0


async def test_a_loop_that_is_always_busy_keeps_nobody_out() -> None:
    pace = Pace(longest_wait=2 * LONG)
    work = asyncio.create_task(busy())
    async with asyncio.timeout(WAIT):
        await asyncio.gather(*(pace.wait() for _ in range(3)))
    work.cancel()


async def test_one_that_stops_waiting_lets_the_next_in() -> None:
    pace = Pace(longest_wait=FOR_EVER)
    work = asyncio.create_task(busy())
    first, second = asyncio.create_task(pace.wait()), asyncio.create_task(pace.wait())
    for _ in range(3):
        await asyncio.sleep(0)
    first.cancel()
    work.cancel()
    async with asyncio.timeout(WAIT):
        await second
    assert pace.waiting == 0


async def test_conversations_that_wait_to_begin_are_counted_and_can_be_cancelled() -> None:
    begun: list[str] = []
    over = asyncio.Event()

    async def runner(
        plan: Plan,
        models: Mapping[str, Model],
        *,
        url: str,
        token: str | None,
        keep: Callable[[Progress], Awaitable[None]],
    ) -> EpisodeLog:
        begun.append(plan.id)
        await over.wait()
        return EpisodeLog(plan.id, "", "completed", "", 1, [], {}, {})

    async with serving(runner=runner) as server:
        pace = server.service.conversations.pace = Pace(longest_pass=0.0, longest_wait=FOR_EVER)
        idents = [await server.begin() for _ in range(3)]
        health = (await server.client.get("/health")).json()
        assert (begun, health["running"], health["waiting"]) == ([], 3, 3)
        assert "palaver_conversations_waiting 3.0" in server.service.metrics.text()
        cancelled = (await server.client.delete(f"/conversations/{idents[1]}")).json()
        pace.longest_pass = FOR_EVER
        over.set()
        done = [(await server.over(ident))["status"] for ident in idents]
    assert (cancelled["status"], done) == ("cancelled", ["completed", "cancelled", "completed"])
    assert begun == [idents[0], idents[2]]
