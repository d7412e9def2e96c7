"""A party that is up: its processes started, looked at, started again and ended, wherever they run."""

import asyncio
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from palaver import crew
from palaver.core.errors import PalaverError
from palaver.core.message import key_of
from palaver.crew import ProcessFailed
from palaver.participants.console.clean import clean
from palaver.party import scripts
from palaver.party.process import HUB, Plan, Process
from palaver.party.state import Folder, Life, Record


class Stage(Protocol):
    """A backend: what shows and keeps processes of this machine."""

    terminal: bool
    """Whether its processes have one."""
    socket: str
    panes: dict[str, str]
    """tmux's, see `Record`."""

    def start(self, process: Process, script: Path, log: Path) -> None:
        """Run a script with `sh`, as the leader of a session of its own."""

    def close(self) -> None:
        """Take away what is left once all processes have ended."""


class Party:
    """The processes of one plan."""

    def __init__(self, folder: Folder, record: Record, stage: Stage) -> None:
        self.folder = folder
        self.record = record
        self.stage = stage

    @property
    def plan(self) -> Plan:
        """What it is made of; processes that were read back have no environment."""
        return self.record.plan

    @property
    def hub(self) -> Process | None:
        """The hub, unless it runs elsewhere."""
        return next((each for each in self.plan.processes if each.name == HUB), None)

    def named(self, name: str) -> Process:
        """A process by its name; letter case does not count. Raises `PalaverError`."""
        for process in self.plan.processes:
            if key_of(name) in (key_of(process.name), process.slug):
                return process
        known = ", ".join(each.name for each in self.plan.processes)
        raise PalaverError(f"party {self.plan.name} has no {name!r}; it has {known}")

    def log(self, process: Process) -> Path:
        """Where its output goes."""
        return Path(self.record.logs) / f"{process.slug}.log"

    def lives(self) -> list[tuple[Process, Life]]:
        """How everybody is."""
        return list(zip(self.plan.processes, self.folder.lives(self.plan.processes), strict=True))

    def last_words(self, process: Process, lines: int = 12) -> str:
        """The end of its output."""
        said = [clean(line).rstrip() for line in crew.words(self.log(process))]
        return "\n".join([line for line in said if line][-lines:])

    @property
    def console(self) -> Process | None:
        """The moderator's seat, where there is one that needs a terminal."""
        return next((each for each in self.plan.processes if each.console), None)

    # --- starting -----------------------------------------------------------------------------------------------------

    async def start(self, processes: Sequence[Process]) -> None:
        """Start them in this order. Raises `ProcessFailed` where a machine or a terminal cannot be had."""
        sent = await asyncio.gather(*(self._deliver(each) for each in processes if each.host))
        if failures := [failure for failure in sent if failure]:
            raise ProcessFailed("\n".join(failures))
        for process in processes:
            log = self.log(process)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_bytes(b"")
            text = scripts.for_here(self.plan, process, terminal=self.stage.terminal)
            self.stage.start(process, self.folder.write_script(process, text), log)
        self.record = replace(self.record, socket=self.stage.socket, panes=self.stage.panes)
        self.folder.keep(self.record)

    async def _deliver(self, process: Process) -> str:
        """Lay its script down where it is to run; returns why that cannot be."""
        text = scripts.for_there(self.plan, process)
        done = await _call(scripts.receiving(self.plan, process), text)
        if not done.returncode:
            return ""
        said = done.stderr.strip() or f"ssh ended with {done.returncode}"
        return f"{process.name} cannot be started on {process.host}: {said}"

    async def restart(self, process: Process) -> None:
        """End it where it runs, and start it as it was started. Raises `PalaverError`."""
        await self.stop([process], for_good=False)
        self.folder.forget_end(process)
        self.stage.start(process, self.folder.path / f"{process.slug}.sh", self.log(process))

    # --- ending -------------------------------------------------------------------------------------------------------

    async def stop(self, processes: Iterable[Process], *, for_good: bool = True) -> None:
        """End these with all that they started; raises `PalaverError` naming the machines that cannot be reached."""
        chosen = {process.slug for process in processes}
        lives = [(process, life) for process, life in self.lives() if process.slug in chosen]
        there = asyncio.gather(*(self._stop_there(each, for_good=for_good) for each, _ in lives if each.host))
        left = await crew.end([life.leader for _, life in lives if life.leader is not None])
        failures = [failure for failure in await there if failure]
        if left:
            failures.append(f"even SIGKILL did not end the processes {', '.join(map(str, sorted(left)))}")
        if failures:
            raise PalaverError("\n".join(failures))

    async def _stop_there(self, process: Process, *, for_good: bool) -> str:
        done = await _call(*scripts.stopping(self.plan, process, for_good=for_good))
        if not done.returncode or not self.folder.has_script(process):  # it never got there
            return ""
        said = done.stderr.strip().splitlines()[-1:] or [f"ssh ended with {done.returncode}"]
        return f"{process.name} may still run on {process.host}, which cannot be reached: {said[0]}"

    async def down(self) -> None:
        """End everything, the hub last, so that it hears the goodbyes; then forget the party.

        Raises `PalaverError` where another machine cannot be reached: the party stays known, for another attempt.
        """
        members = [each for each in self.plan.processes if each.name != HUB]
        try:
            await self.stop(members)
        except PalaverError as error:
            told = f"palaver down {self.plan.name} tries again; rm -r {self.folder.path} forgets the party"
            raise PalaverError(f"{error}\n{told}") from error
        finally:
            await self.stop([self.hub] if self.hub else [])
            self.stage.close()
        self.folder.remove()


async def _call(command: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
    """Run ssh with `text` on its standard input; it asks for a password on the terminal, where there is one."""
    try:
        return await asyncio.to_thread(
            subprocess.run, command, input=text, capture_output=True, text=True, check=False, timeout=60
        )
    except FileNotFoundError as error:
        raise ProcessFailed(f"{command[0]} is not installed: apt-get install openssh-client") from error
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, 255, "", f"no answer within {error.timeout:.0f} s")
