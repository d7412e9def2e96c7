"""Conversations carried out by processes of their own: the worker's side."""

import asyncio
import dataclasses
import logging
import logging.handlers
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from palaver import plugins
from palaver.api.channel import Begin, Kept, Noted, Over, Replied, Stop, receive, send
from palaver.api.compose import entries_of, runner_of
from palaver.api.counting import Counters
from palaver.api.plan import Runner
from palaver.api.shelf import Shelf
from palaver.config import ServerConfig
from palaver.core.errors import PalaverError
from palaver.models.model import LLMResponse
from palaver.scenes.progress import Progress

logger = logging.getLogger(__name__)

_FIELDS: Final = frozenset(vars(logging.makeLogRecord({})))
"""Of a log record; others bring what cannot travel (a connection)."""


class Teller(logging.handlers.QueueHandler):
    """Hands what is logged to the server, whose log it belongs to."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # its frames go into the socket instead
        self.setFormatter(logging.Formatter("%(message)s"))  # the rest is the server's
        self._writer = writer
        self._loop = asyncio.get_running_loop()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send it from the loop's thread, whichever logged it."""
        told = logging.makeLogRecord({name: value for name, value in vars(record).items() if name in _FIELDS})
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(send, self._writer, told)


class Worker:
    """Carries out what the server sends, all at once, until the server is gone."""

    def __init__(self, config: ServerConfig, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._config = config
        self._reader = reader
        self._writer = writer
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._noted: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Raises `ConfigError` where the config cannot be used."""
        plugins.import_modules(self._config.plugins)
        runner = runner_of(self._config)
        counters = Counters(CollectorRegistry())
        shelf = Shelf(entries_of(self._config), default=None, counters=counters, told=self._replied)
        try:
            while (frame := await receive(self._reader)) is not None:
                match frame:
                    case Begin():
                        self._begin(frame, runner, shelf)
                    case Stop(ident) if ident in self._tasks:
                        self._tasks[ident].cancel()
                    case Noted(ident) if ident in self._noted:
                        self._noted[ident].set()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await shelf.close()

    def _begin(self, asked: Begin, runner: Runner, shelf: Shelf) -> None:
        ident = asked.plan.id
        self._tasks[ident] = asyncio.create_task(self._carry_out(asked, runner, shelf), name=ident)
        self._tasks[ident].add_done_callback(lambda _: self._tasks.pop(ident, None))

    async def _carry_out(self, asked: Begin, runner: Runner, shelf: Shelf) -> None:
        ident = asked.plan.id
        over = Over(ident)
        try:
            for agent in asked.plan.scene.agents:
                if agent.model is not None:
                    shelf.take(agent.model)
            keep = partial(self._keep, ident)
            over = Over(ident, await runner(asked.plan, shelf.models, url=asked.url, token=asked.token, keep=keep))
        except PalaverError as error:
            over = Over(ident, failure=str(error))
        except Exception as error:
            logger.exception("conversation %s failed", ident)
            over = Over(ident, failure=f"{type(error).__name__}: {error}")
        finally:
            send(self._writer, over)

    async def _keep(self, ident: str, progress: Progress) -> None:
        noted = self._noted[ident] = asyncio.Event()
        send(self._writer, Kept(ident, progress))
        try:
            await noted.wait()
        finally:
            del self._noted[ident]

    def _replied(self, model: str, response: LLMResponse) -> None:
        bare = dataclasses.replace(response, content="", tool_calls=(), provenance={}, logprobs=None)
        send(self._writer, Replied(model, bare))
