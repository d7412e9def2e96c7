"""The threads behind the embedded log: one for work that the loop must not wait for, one that syncs to the disk."""

import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from palaver.hub.sqlite_file import CHECKPOINT, FILE, RESTART, Job, Outcome, SqliteFile, move_wal

logger = logging.getLogger(__name__)

PERIOD: Final = 1.0
"""Seconds between two syncs: what `--fsync everysec` promises."""


class Writer(threading.Thread):
    """Jobs in, outcomes out. While it has any, nobody else may use the file.

    `done` gets what became of a commit (`None`: there was none), and how many jobs have been dealt with by then.
    """

    def __init__(
        self, file: SqliteFile, jobs: "queue.SimpleQueue[Job | None]", done: Callable[[Outcome | None, int], None]
    ) -> None:
        super().__init__(name="palaver-log", daemon=True)
        self._file, self._jobs, self._done = file, jobs, done

    def run(self) -> None:
        running = True
        while running:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            work = [job for job in jobs if job is not None]
            running = len(work) == len(jobs)
            writing = [job for job in work if job.writes]
            outcome = self._file.commit(writing) if writing else None
            if outcome is not None and outcome.count:
                self._done(outcome, 0)
            for job in work:
                self._file.answer(job)
            if self._file.needs_checkpoint or any(job.checkpoint for job in work):
                self._file.checkpoint()
            self._done(None, len(work))
        self._file.close()


class Syncer:
    """Brings what was committed to the disk once a second, and moves the write-ahead log into the file, beside commits.

    An fsync took 3.8 ms when measured, 300 times the commit itself, and a checkpoint 40 to 55 ms under load: so nobody
    waits for them. A log to which commits never cease must be begun anew now and then: `restart` is called when it is
    due and little is left to move.
    """

    def __init__(self, folder: Path, file: SqliteFile, restart: Callable[[], None]) -> None:
        self._path, self._file, self._restart = folder / FILE, file, restart
        self._database: sqlite3.Connection | None = None
        self._moved = 0
        self._dirty = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="palaver-sync", daemon=True)
        self._thread.start()

    def mark(self) -> None:
        """Something was committed."""
        self._dirty.set()

    def _run(self) -> None:
        while not self._closing.wait(PERIOD):
            if self._dirty.is_set():
                self._dirty.clear()
                self._work()
        if self._database is not None:
            self._database.close()

    def _work(self) -> None:
        grown = self._file.grown
        if grown < self._moved:  # it was begun anew
            self._moved = 0
        if grown - self._moved < CHECKPOINT:
            self._sync()
            return
        self._move()
        self._moved = grown
        if grown >= RESTART:
            self._restart()

    def _move(self) -> None:
        try:
            self._database = self._database or sqlite3.connect(self._path, isolation_level=None)
        except sqlite3.Error as error:
            logger.error("log: cannot be opened a second time: %s", error)
        else:
            move_wal(self._database)

    def _sync(self) -> None:
        try:
            with self._path.with_name(f"{self._path.name}-wal").open("rb") as file:
                os.fdatasync(file.fileno())
        except OSError as error:
            logger.error("log: cannot be synced: %s", error)

    def close(self) -> None:
        """Stop."""
        self._closing.set()
        self._thread.join()
