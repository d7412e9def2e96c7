"""Raising a party: hub first, then everybody, until all are ready or one has failed; and staying with it."""

import asyncio
import time
from typing import Final

from palaver import crew
from palaver.crew import ProcessFailed
from palaver.party import scripts
from palaver.party.party import Party
from palaver.party.process import HUB, Plan, Process, Seat
from palaver.party.state import Life
from palaver.party.telling import Telling, describe
from palaver.party.watch import Seen, Watch, is_healthy, watching

HUB_SECONDS: Final = 60.0
"""Within which a hub must listen: it has a log to read first."""
_LOOK: Final = 0.25
"""Seconds between two looks at the processes, which tell nobody that they end."""


async def raise_party(party: Party, telling: Telling, *, token: str | None, seconds: float, console: bool) -> None:
    """Start all processes and wait until everybody is ready. Without `console` those that need one are left out.

    Raises `ProcessFailed` with the last words of whatever ended, or the names of those who were not ready in time.
    """
    began = time.monotonic()
    plan = party.plan
    await _raise_hub(party, telling)
    members = [each for each in plan.processes if each.name != HUB and (console or not each.console)]
    if not console and party.console is not None:
        party.folder.write_script(party.console, scripts.for_a_terminal(party.console))
    await party.start(members)
    seats = {seat: process for process in members for seat in process.seats}
    async with watching(plan, [plan.room, *(seat.room for seat in seats)], token) as watch:
        await _until_ready(party, watch, seats, telling, seconds)
    if seats:
        telling.say(f"all {len(seats)} ready after {time.monotonic() - began:.1f} s")


async def _raise_hub(party: Party, telling: Telling) -> None:
    hub, url = party.hub, party.plan.url
    if hub is not None:
        await party.start([hub])
        check = _Check(party, hub)
        await crew.until_logged(party.log(hub), "Palaver hub:", name=HUB, seconds=HUB_SECONDS, check=check)
    if not await is_healthy(url):
        raise ProcessFailed(f"no hub answers at {page(party.plan)}health")
    telling.say(f"hub: {url}   page: {page(party.plan)}")


class _Check:
    """Raises where a process has ended."""

    def __init__(self, party: Party, process: Process) -> None:
        self._party, self._process = party, process

    def __call__(self) -> None:
        for process, life in self._party.lives():
            if process is self._process and _is_over(life):
                raise ProcessFailed(obituary(self._party, process, life))


async def _until_ready(
    party: Party, watch: Watch, seats: dict[Seat, Process], telling: Telling, seconds: float
) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                missing = _missing(party, watch, seats)
                telling.progress({seat: _seen(watch, seat, missing) for seat in seats})
                if not missing:
                    return
                if watch.failure is not None:
                    raise ProcessFailed(f"nobody is let in to see who is ready: {watch.failure}")
                await _news(watch)
    except TimeoutError:
        names = ", ".join(f"{seat.name} ({describe(watch.of(seat))})" for seat in _missing(party, watch, seats))
        raise ProcessFailed(f"not ready within {seconds:.0f} s (--wait): {names}; see {party.record.logs}/") from None


def _seen(watch: Watch, seat: Seat, missing: list[Seat]) -> Seen | None:
    return watch.of(seat) if seat in missing else Seen("ready")


async def _news(watch: Watch) -> None:
    """Wait for a frame, but not for long."""
    watch.changed.clear()
    try:
        async with asyncio.timeout(_LOOK):
            await watch.changed.wait()
    except TimeoutError:
        return
    await asyncio.sleep(0.02)  # others come together with it


def _missing(party: Party, watch: Watch, seats: dict[Seat, Process]) -> list[Seat]:
    """Who was never ready. Raises `ProcessFailed` where one of them, or the hub, has ended."""
    lives = {process.slug: (process, life) for process, life in party.lives()}
    waiting = [seat for seat in seats if not watch.was_ready(seat)]
    done = set()
    for process, life in lives.values():
        if life.has_failed or (_is_over(life) and process.name == HUB):
            raise ProcessFailed(obituary(party, process, life))
        if _is_over(life):
            done.add(process.slug)
    return [seat for seat in waiting if seats[seat].slug not in done]


async def stay(party: Party, telling: Telling) -> int:
    """Tell of everybody who ends; returns when the party is over: the hub gone, or nobody left who would speak.

    The exit code is 0 where all that ended did so with 0.
    """
    told: set[str] = set()
    while True:
        lives = [(process, life) for process, life in party.lives() if life.since is not None]
        for process, life in lives:
            if _is_over(life) and process.slug not in told:
                told.add(process.slug)
                telling.say(obituary(party, process, life) if life.has_failed else f"{process.name} is done")
            elif not _is_over(life):
                told.discard(process.slug)  # it was started again
        if _is_over_for_all(party, lives):
            return 1 if any(life.has_failed or process.name == HUB for process, life in lives if _is_over(life)) else 0
        await asyncio.sleep(_LOOK)


def _is_over_for_all(party: Party, lives: list[tuple[Process, Life]]) -> bool:
    """The hub has ended, or everybody else; or, where users were simulated and nobody moderates, all of those."""
    alive = [process for process, life in lives if not _is_over(life)]
    members = [process for process in alive if process.name != HUB]
    if not members or any(process.name == HUB and _is_over(life) for process, life in lives):
        return True
    simulated = any(process.door == "user-sim" for process, _ in lives)
    moderated = any(process.door == "moderator" for process in party.plan.processes)
    return simulated and not moderated and not any(process.door == "user-sim" for process in alive)


def _is_over(life: Life) -> bool:
    return life.leader is None and life.since is not None


def obituary(party: Party, process: Process, life: Life) -> str:
    """How it ended, and its last words."""
    said = party.last_words(process)
    return f"{process.name} {life}" + (":\n" + "\n".join(f"  {line}" for line in said.splitlines()) if said else "")


def page(plan: Plan) -> str:
    """Where the hub's page is."""
    return plan.url.replace("ws", "http", 1).rstrip("/") + "/"
