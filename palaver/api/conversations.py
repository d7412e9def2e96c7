"""Conversations from their request to their end: started, watched, steered, cancelled, remembered. Knows no HTTP."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from palaver.api.counting import Counters
from palaver.api.errors import BadRequest, Conflict, NotFound, Stopping
from palaver.api.pacing import Pace
from palaver.api.plan import Plan, Runner, Status
from palaver.api.shelf import Shelf
from palaver.api.steering import Seat
from palaver.api.store import INTERRUPTED, Record, Store
from palaver.core.errors import LogUnavailable, PalaverError
from palaver.core.protocol import Ack
from palaver.scenes.episode import EpisodeLog
from palaver.scenes.progress import Progress

logger = logging.getLogger(__name__)

MOST_RUNNING: Final = 500
"""Conversations that may run at once; more are refused, not queued."""
SAVING_AGAIN: Final = 5.0
"""Seconds until an outcome that could not be kept is tried again."""


class Conversations:
    """All of them. `on_end` is called with the id of each that is over."""

    def __init__(
        self,
        *,
        store: Store,
        shelf: Shelf,
        runner: Runner,
        counters: Counters,
        url: str,
        token: str | None,
        clock: Callable[[], float],
        on_end: Callable[[str], None] = lambda ident: None,
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._runner = runner
        self._counters = counters
        self._url = url
        self._token = token
        self._clock = clock
        self._on_end = on_end
        self._work: dict[str, asyncio.Task[EpisodeLog]] = {}
        self._tasks: dict[str, asyncio.Task[EpisodeLog | None]] = {}
        """Those who wait for the work and keep its outcome."""
        self._seats: dict[str, Seat] = {}
        self._cancelled: set[str] = set()
        self._turns: dict[str, int] = {}
        """How many turns of each that runs are done."""
        self._beginning = 0
        self.pace = Pace()
        counters.waiting.set_function(lambda: self.waiting)
        self._closing = False

    @property
    def running(self) -> int:
        """How many run now."""
        return len(self._tasks)

    @property
    def waiting(self) -> int:
        """How many of these wait to begin, because the server is busy."""
        return self.pace.waiting

    @staticmethod
    def new_id() -> str:
        """An id for a conversation and its room."""
        return f"conv-{secrets.token_hex(8)}"

    async def start(self, plan: Plan, request: Mapping[str, Any], asked: str) -> Record:
        """Begin; returns as soon as it is kept. `request` is shown, `asked` is what it could be taken up from."""
        if self._closing:
            raise Stopping("the server is stopping")
        if self.running + self._beginning >= MOST_RUNNING:
            raise Stopping(f"{self.running} conversations run already; wait for one to end")
        record = Record(plan.id, "running", self._clock(), request)
        self._beginning += 1
        try:
            await self._store.begin(record, asked)
        finally:
            self._beginning -= 1
        self._launch(plan, record)
        return record

    def take_up(self, plan: Plan, record: Record) -> None:
        """Go on with one that ran when the last process ended, as far as `plan.so_far` says."""
        self._launch(plan, record)
        logger.info("conversation %s goes on after turn %d", plan.id, self._turns[plan.id])

    async def give_up(self, record: Record, why: str) -> None:
        """It ran when the last process ended and cannot go on."""
        logger.warning("conversation %s cannot go on: %s", record.id, why)
        error = f"{INTERRUPTED}, and cannot go on: {why}"
        await self._store.save(record.changed(status="failed", error=error, ended=self._clock()))

    def _launch(self, plan: Plan, record: Record) -> None:
        self._turns[plan.id] = plan.so_far.turns if plan.so_far is not None else 0
        self._work[plan.id] = asyncio.create_task(self._work_out(plan), name=plan.id)
        task = self._tasks[plan.id] = asyncio.create_task(self._see_through(plan, record, self._work[plan.id]))
        task.add_done_callback(lambda _: self._tasks.pop(plan.id, None))

    async def run(self, plan: Plan, request: Mapping[str, Any], asked: str) -> tuple[Record, EpisodeLog | None]:
        """Begin and wait for the end; no log where there is none. Cancelling the wait cancels the conversation."""
        await self.start(plan, request, asked)
        task = self._tasks[plan.id]
        try:
            episode = await asyncio.shield(task)
        except asyncio.CancelledError:
            self._cancelled.add(plan.id)
            self._work[plan.id].cancel()
            await asyncio.wait([task])
            raise
        return await self.get(plan.id), episode

    async def _work_out(self, plan: Plan) -> EpisodeLog:
        await self.pace.wait()
        for agent in plan.scene.agents:
            if agent.model is not None:
                self._shelf.take(agent.model)
        keep = partial(self._keep, plan.id)
        return await self._runner(plan, self._shelf.models, url=self._url, token=self._token, keep=keep)

    async def _keep(self, ident: str, progress: Progress) -> None:
        self._turns[ident] = progress.turns
        try:
            await self._store.keep(ident, msgspec.json.encode(progress).decode())
        except LogUnavailable as error:  # it goes on: only a restart would do this turn once more
            logger.error("conversation %s: how far it has come could not be kept: %s", ident, error)

    async def _see_through(self, plan: Plan, record: Record, work: asyncio.Task[EpisodeLog]) -> EpisodeLog | None:
        """Wait for the work and keep what it came to. This task is never cancelled itself."""
        self._counters.started.inc()
        with self._counters.running.track_inprogress():
            await asyncio.wait([work])
        if (seat := self._seats.pop(plan.id, None)) is not None:
            await seat.close()
        if self._closing and work.cancelled() and plan.id not in self._cancelled:
            return None  # the next process takes it up
        record = self._concluded(plan, record, work).changed(ended=self._clock())
        await self._save(record)
        del self._work[plan.id]
        self._turns.pop(plan.id, None)
        self._cancelled.discard(plan.id)
        self._counters.ended.labels(record.status).inc()
        self._on_end(plan.id)
        return None if work.cancelled() or work.exception() else work.result()

    async def _save(self, record: Record) -> None:
        """Keep the outcome, however long the disk is full; a server that stops leaves it to the next process."""
        while True:
            try:
                return await self._store.save(record)
            except LogUnavailable as error:
                logger.error("conversation %s is over, but that cannot be kept: %s", record.id, error)
                if self._closing:
                    return None
                await asyncio.sleep(SAVING_AGAIN)

    def _concluded(self, plan: Plan, record: Record, work: asyncio.Task[EpisodeLog]) -> Record:
        if plan.id in self._cancelled or work.cancelled():
            turns = self._turns.get(plan.id, 0)
            return record.changed(status="cancelled", reasoning="cancelled on request", turn_count=turns)
        error = work.exception()
        if isinstance(error, PalaverError):
            logger.warning("conversation %s failed: %s", plan.id, error)
            return record.changed(status="failed", error=str(error))
        if error is not None:
            logger.error("conversation %s failed", plan.id, exc_info=error)
            return record.changed(status="failed", error=f"{type(error).__name__}: {error}")
        episode = work.result()
        self._counters.unscored.inc(episode.unscored)
        return record.changed(
            status=episode.status,
            error=episode.error,
            reasoning=episode.reasoning,
            turn_count=episode.turn_count,
            results=episode.results,
            statistics=episode.statistics,
        )

    async def finished(self, ident: str) -> Record:
        """Wait until it is over; cancelling the wait leaves it running."""
        if (task := self._tasks.get(ident)) is not None:
            await asyncio.wait([task])
        return await self.get(ident)

    async def get(self, ident: str) -> Record:
        """Its record; raises `NotFound`."""
        record = await self._store.get(ident)
        if record is None:
            raise NotFound(f"there is no conversation {ident!r}")
        return self._as_it_stands(record)

    def _as_it_stands(self, record: Record) -> Record:
        return record.changed(turn_count=self._turns[record.id]) if record.id in self._turns else record

    async def latest(self, *, limit: int, offset: int, status: Status | None) -> list[Record]:
        """Records, newest first."""
        found = await self._store.latest(limit=limit, offset=offset, status=status)
        return [self._as_it_stands(record) for record in found]

    async def cancel(self, ident: str) -> Record:
        """End it and its room at once; raises `NotFound`, or `Conflict` where it is over."""
        record = await self.get(ident)
        if ident not in self._work:
            raise Conflict(f"conversation {ident} is over: {record.status}")
        self._cancelled.add(ident)
        with contextlib.suppress(Conflict, BadRequest, Stopping):  # whatever the room says, the work is ended
            await self._seat(ident).command("/end cancelled")
        if (work := self._work.get(ident)) is not None:
            work.cancel()
        return await self.finished(ident)

    async def command(self, ident: str, text: str) -> Ack:
        """Give a moderator's command in its room; raises `NotFound`, `Conflict`, `BadRequest`."""
        record = await self.get(ident)
        if ident not in self._work:
            raise Conflict(f"conversation {ident} is over: {record.status}")
        return await self._seat(ident).command(text if text.startswith("/") else f"/{text}")

    def _seat(self, ident: str) -> Seat:
        return self._seats.setdefault(ident, Seat(self._url, ident, self._token))

    async def close(self) -> None:
        """Stop what runs and wait for it: the next process takes it up."""
        self._closing = True
        for work in self._work.values():
            work.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
