"""Processes that belong together: started, watched and stopped as one, each with a log file of its own."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from palaver.core.errors import PalaverError

GRACE: Final = 5.0
"""Seconds that a process may take to stop when asked to."""
_LOOK: Final = 0.05
"""Seconds between two looks at what tells nobody that it has changed: a file, the processes of others."""
_PR_SET_PDEATHSIG: Final = 1


class ProcessFailed(PalaverError):
    """A process of the crew ended when it should not, or never became ready."""


# --- what runs on this machine ---------------------------------------------------------------------------------------


class Running(NamedTuple):
    """A living process of this machine; `began` is when it started, in words of the system's own."""

    pid: int
    group: int
    session: int
    began: str


def running() -> list[Running]:
    """Every living process; one that has ended and waits to be reaped is none."""
    if Path("/proc/self/stat").exists():
        return [one for each in Path("/proc").glob("[0-9]*") if (one := _of_proc(each)) is not None]
    columns = "pid=,pgid=,stat=,lstart="
    shown = subprocess.run(["ps", "-A", "-o", columns], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=3) for line in shown.splitlines()]
    return [Running(int(pid), int(group), int(group), began) for pid, group, state, began in rows if state[0] != "Z"]


def _of_proc(folder: Path) -> Running | None:
    with contextlib.suppress(OSError):
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        if fields[0] not in "ZX":
            return Running(int(folder.name), int(fields[2]), int(fields[3]), fields[19])
    return None


def family(leader: int, everything: Sequence[Running] | None = None) -> list[int]:
    """The living processes of the group and the session that `leader` opened, itself included."""
    processes = running() if everything is None else everything
    return [one.pid for one in processes if leader in (one.group, one.session)]


async def end(leaders: Collection[int], *, grace: float = GRACE) -> set[int]:
    """Ask the families of `leaders` to stop, and kill what is left after `grace` seconds; gives what outlives that."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _send(leaders, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while _left(leaders):  # noqa: ASYNC110  # a process that is not our child tells us nothing
                    await asyncio.sleep(_LOOK)
                return set()
    return _left(leaders)


def _left(leaders: Collection[int]) -> set[int]:
    everything = running() if leaders else []
    return {pid for leader in leaders for pid in family(leader, everything)}


def _send(leaders: Collection[int], number: signal.Signals) -> None:
    for pid in _left(leaders):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def until_logged(log: Path, text: str, *, name: str, seconds: float, check: Callable[[], None]) -> str:
    """The first line of `log` that holds `text`; raises `ProcessFailed`. `check` raises where waiting is in vain."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                for line in words(log):
                    if text in line:
                        return line
                check()
                await asyncio.sleep(_LOOK)
    except TimeoutError:
        said = "\n".join(words(log)[-12:])
        raise ProcessFailed(f"{name} was not ready within {seconds:.0f} s (no {text!r}):\n{said}") from None


def words(log: Path) -> list[str]:
    """The lines of a log file; none where there is no such file."""
    with contextlib.suppress(OSError):
        return log.read_text(encoding="utf-8", errors="replace").splitlines()
    return []


# --- processes that end when we do -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Process:
    """One of the crew. `log` is where its output goes."""

    name: str
    process: asyncio.subprocess.Process
    log: Path


class Crew:
    """`async with Crew(folder) as crew`: whatever was started is stopped at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Process:
        """Start `command` with its output in `folder/NAME.log`; it ends when this process does."""
        log = self._folder / f"{name.replace(' ', '-').lower()}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        started = Process(name, process, log)
        self._processes.append(started)
        return started

    def check(self) -> None:
        """Raises `ProcessFailed` with the last words of one that has ended badly."""
        for one in self._processes:
            if one.process.returncode not in (None, 0):
                said = "\n".join(words(one.log)[-12:])
                raise ProcessFailed(f"{one.name} ended with {one.process.returncode}:\n{said}")

    async def until_logged(self, one: Process, text: str, seconds: float) -> str:
        """The first line of its output that holds `text`; raises `ProcessFailed`."""
        return await until_logged(one.log, text, name=one.name, seconds=seconds, check=self.check)

    async def stop(self) -> None:
        """Ask all to stop; kill those that take longer than 5 s."""
        alive = [one.process for one in self._processes if one.process.returncode is None]
        await end([process.pid for process in alive])
        for process in alive:
            await process.wait()
        self._processes.clear()


def _die_with_parent() -> None:
    """Linux: have the kernel stop this process when the one that started it dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
