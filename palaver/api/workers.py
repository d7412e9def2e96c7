"""Conversations carried out by processes of their own, so that they have more cores than one: the server's side.

The server keeps hub, records and HTTP; a worker has the models, the agents' seats and the evaluators of the
conversations it was given, and joins the hub like anybody else.
"""

import asyncio
import contextlib
import logging
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from palaver.api.channel import Begin, Hello, Kept, Noted, Over, Replied, Stop, receive, send
from palaver.api.counting import Told
from palaver.api.plan import Plan
from palaver.config import ServerConfig
from palaver.core.errors import PalaverError
from palaver.models.model import Model
from palaver.scenes.episode import EpisodeLog
from palaver.scenes.progress import Progress

logger = logging.getLogger(__name__)

Keep = Callable[[Progress], Awaitable[None]]
GOODBYE: Final = 5.0
"""Seconds that a worker has to end."""
AGAIN: Final = 1.0
"""Seconds until one that has ended is started again, and what it held goes on: the hub has emptied its seats then."""
ATTEMPTS: Final = 3
"""So many workers are given one conversation, one after another."""


class WorkerLost(PalaverError):
    """The process that was to carry a conversation out has ended."""


@dataclass(slots=True)
class _Call:
    """A conversation that a worker carries out; `outcome` is cancelled where it was stopped."""

    keep: Keep
    outcome: "asyncio.Future[EpisodeLog]"


@dataclass(slots=True)
class _Worker:
    process: Process
    writer: asyncio.StreamWriter
    calls: dict[str, _Call] = field(default_factory=dict)


class Workers:
    """A `Runner` over `count` processes. Enter what `telling` gives before the service that it works for."""

    def __init__(self, config: ServerConfig, count: int, *, trace: str | None = None) -> None:
        self._hello = Hello(config, trace)
        self._count = count
        self._told: Told = lambda ident, response: None
        self._workers: list[_Worker] = []
        self._watching: set[asyncio.Task[None]] = set()
        self._keeping: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def telling(self, told: Told) -> AsyncIterator[None]:
        """Start them; they end with the block. `told` is called with the figures of each of their models' replies."""
        self._told = told
        try:
            for _ in range(self._count):
                self._own(self._watching, self._watch(await self._start()))
            yield
        finally:
            for task in self._watching:
                task.cancel()
            await asyncio.gather(*self._watching, *self._keeping, return_exceptions=True)

    async def __call__(
        self, plan: Plan, models: Mapping[str, Model], *, url: str, token: str | None, keep: Keep
    ) -> EpisodeLog:
        """Have it carried out by the worker that has least to do; `models` are the workers' own.

        Where a worker ends, another goes on from what was kept; one that ends a worker each time must not for ever.
        """

        async def keep_here_too(progress: Progress) -> None:
            nonlocal plan
            plan = replace(plan, so_far=progress)
            await keep(progress)

        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._have_done(plan, url, token, keep_here_too)
            except WorkerLost as error:
                if attempt == ATTEMPTS:
                    raise
                logger.warning("conversation %s goes on elsewhere: %s", plan.id, error)
                await asyncio.sleep(AGAIN)
        raise AssertionError("it has returned or raised")

    async def _have_done(self, plan: Plan, url: str, token: str | None, keep: Keep) -> EpisodeLog:
        if not self._workers:
            raise WorkerLost("no worker process runs")
        worker = min(self._workers, key=lambda one: len(one.calls))
        call = worker.calls[plan.id] = _Call(keep, asyncio.get_running_loop().create_future())
        try:
            send(worker.writer, Begin(plan, url, token))
            await asyncio.wait([call.outcome])
            return call.outcome.result()
        except asyncio.CancelledError:
            send(worker.writer, Stop(plan.id))
            await asyncio.wait([call.outcome], timeout=GOODBYE)
            raise
        finally:
            del worker.calls[plan.id]

    async def _start(self) -> tuple[_Worker, asyncio.StreamReader]:
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-m", "palaver.cli.worker", str(theirs.fileno()))
            process = await asyncio.create_subprocess_exec(*command, pass_fds=(theirs.fileno(),))
        reader, writer = await asyncio.open_connection(sock=ours)
        send(writer, self._hello)
        worker = _Worker(process, writer)
        self._workers.append(worker)
        logger.info("worker process %d is up", process.pid)
        return worker, reader

    async def _watch(self, started: tuple[_Worker, asyncio.StreamReader]) -> None:
        """Take in what a worker tells, and start another when it ends, until cancelled."""
        while True:
            worker, reader = started
            try:
                while (frame := await receive(reader)) is not None:
                    self._take(worker, frame)
            finally:
                self._workers.remove(worker)
                worker.writer.close()
                code = await _ended(worker.process)
                for call in worker.calls.values():
                    if not call.outcome.done():
                        call.outcome.set_exception(WorkerLost(f"the process that carried it out has ended ({code})"))
            logger.error("worker process %d has ended (%d); another is started", worker.process.pid, code)
            await asyncio.sleep(AGAIN)
            started = await self._start()

    def _take(self, worker: _Worker, frame: object) -> None:
        match frame:
            case logging.LogRecord():
                logging.getLogger(frame.name).handle(frame)
            case Replied(model, response):
                self._told(model, response)
            case Kept(ident, progress) if ident in worker.calls:
                self._own(self._keeping, self._keep(worker, ident, worker.calls[ident].keep(progress)))
            case Over(ident, episode, failure) if ident in worker.calls:
                outcome = worker.calls[ident].outcome
                if episode is not None:
                    outcome.set_result(episode)
                elif failure is not None:
                    outcome.set_exception(PalaverError(failure))
                else:
                    outcome.cancel()

    async def _keep(self, worker: _Worker, ident: str, keeping: Awaitable[None]) -> None:
        await keeping
        send(worker.writer, Noted(ident))

    def _own(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _ended(process: Process) -> int:
    """Its exit code, once it has seen that we are gone; killed where it takes too long."""
    try:
        async with asyncio.timeout(GOODBYE):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()
