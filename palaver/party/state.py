"""What is known of a party that is up: a folder of small files, so that any shell can look after it.

Each process notes its own id and exit code there (see `scripts`), so nothing is forgotten when `up` is killed.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from palaver.core.errors import ConfigError
from palaver.crew import Running, family, running
from palaver.party.process import Plan, Process


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A party that was started."""

    plan: Plan
    backend: str
    logs: str
    """The folder of the processes' output."""
    socket: str = ""
    """tmux's."""
    panes: dict[str, str] = {}
    """tmux's names of panes, by slug."""


class Life(NamedTuple):
    """How a process is."""

    leader: int | None
    """The process id that it noted, while anything of it lives."""
    code: int | None
    """Its exit code, once it has ended by itself."""
    since: float | None
    """When it began or ended, in seconds since the epoch."""

    @property
    def has_failed(self) -> bool:
        """It is gone, and not because its work was done."""
        return self.leader is None and self.since is not None and self.code != 0

    def __str__(self) -> str:
        if self.code is not None:
            return f"ended with {self.code}"
        if self.leader is not None:
            return "runs"
        return "starts" if self.since is None else "was killed"


class Folder:
    """The files of one party."""

    def __init__(self, home: Path, party: str) -> None:
        self.path = home / party

    def make(self) -> None:
        """Only its owner may look into it: the scripts in it hold secrets. Raises `ConfigError`."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            told = f"{self.path} cannot be made: {error.strerror}; XDG_STATE_HOME names another place"
            raise ConfigError(told) from error

    def record(self) -> Record | None:
        """The party that was started, None where there is none."""
        try:
            return msgspec.json.decode((self.path / "party.json").read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, OSError) as error:
            raise ConfigError(f"{self.path / 'party.json'} cannot be read: {error}; see to its processes") from error

    def lock(self) -> bool:
        """Whether the party is ours to start, for as long as we live: another `up` may be at it."""
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_ours(self) -> bool:
        """Whether what we locked still is what is there: `down` may have been called meanwhile, and `up` again."""
        with contextlib.suppress(FileNotFoundError):
            return os.fstat(self._lock).st_ino == (self.path / "lock").stat().st_ino
        return False

    def keep(self, record: Record) -> None:
        """Write it down; without the environments, which are the scripts' business."""
        bare = [msgspec.structs.replace(each, env={}, shown={}) for each in record.plan.processes]
        plan = msgspec.structs.replace(record.plan, processes=tuple(bare))
        self._write("party.json", msgspec.json.encode(msgspec.structs.replace(record, plan=plan)))

    def write_script(self, process: Process, text: str) -> Path:
        """Lay down what `sh` is to run."""
        return self._write(f"{process.slug}.sh", text.encode())

    def has_script(self, process: Process) -> bool:
        """Whether it was about to be started: the script is the last that is laid down before."""
        return (self.path / f"{process.slug}.sh").exists()

    def _write(self, name: str, body: bytes) -> Path:
        path, new = self.path / name, self.path / f"{name}.new"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(body)
        new.replace(path)
        return path

    def remove(self) -> None:
        """Forget the party."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.path.iterdir():
                path.unlink(missing_ok=True)
            self.path.rmdir()

    def forget_end(self, process: Process) -> None:
        """It is to be started: how it ended before says nothing any more."""
        for ending in ("exit", "pid"):
            (self.path / f"{process.slug}.{ending}").unlink(missing_ok=True)

    def lives(self, processes: Sequence[Process]) -> list[Life]:
        """How these are. A process that notes itself now runs already, and one that is gone has left its exit code:
        so what they noted is read before one looks what runs, and their ends after."""
        noted = [_text(self.path / f"{process.slug}.pid") for process in processes]
        everything = running()
        return [self._life(process, note, everything) for process, note in zip(processes, noted, strict=True)]

    def _life(self, process: Process, note: str, everything: list[Running]) -> Life:
        ended = self.path / f"{process.slug}.exit"
        leader, code = _leader(note, everything), _text(ended).strip()
        with contextlib.suppress(OSError):
            since = (ended if code else self.path / f"{process.slug}.pid").stat().st_mtime
            return Life(leader, int(code) if code else None, since if note else None)
        return Life(leader, None, None)


def _leader(noted: str, everything: list[Running]) -> int | None:
    """The process that noted itself so, or that opened what lives on. A number given to another since is nobody's."""
    words = noted.split()
    if not words:
        return None
    leader = int(words[0])
    began = words[21] if len(words) > 40 else noted.strip().partition(" ")[2].strip()
    taken = any(one.pid == leader and one.began != began for one in everything)
    return leader if not taken and family(leader, everything) else None


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def parties(home: Path) -> list[str]:
    """The names of all parties that were started and not taken down."""
    return sorted(path.parent.name for path in home.glob("*/party.json"))


def how_long(seconds: float) -> str:
    """`4 s`, `12 min`, `3 h 5 min`."""
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if minutes < 2:
        return f"{int(seconds)} s"
    return f"{minutes} min" if hours < 2 else f"{hours} h {minutes % 60} min"


def ago(moment: float) -> str:
    """How long ago that was."""
    return how_long(max(0.0, time.time() - moment))
