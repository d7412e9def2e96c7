"""How many threads an engine on the processor may use: its share of the cores, counted with the other engines here.

Three engines with torch's default of all cores each are five times slower than with a share each (measured: 8.5
against 41.9 tokens/s on two cores). Each engine holds a lock on a file of its own in a common folder; locks that are
held are engines that live.
"""

import contextlib
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import IO, Final

import torch

try:
    import fcntl
except ImportError:  # Windows: engines do not see each other there, `--threads` says what each may use
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 2.0
_PARAMETERS_A_THREAD: Final = 10_000_000
"""In a smaller model, threads wait for each other longer than they compute. Measured on two cores with one thread and
with two: 64 conversations at once of a model of a million parameters 466 and 265 a minute, of 15 million 131 and 116;
one reply of the latter 139 and 116 tokens/s."""


def usable_cores() -> int:
    """Cores that this process may use: its affinity, cut down to a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


class Cores:
    """This engine's share of the cores. `threads` 0 finds it out, and looks again as engines come and go.

    A model of so many `parameters` gets no more of them than it can use; 0 for no such limit.
    """

    def __init__(self, threads: int = 0, folder: Path | None = None, *, parameters: int = 0) -> None:
        self._fixed = threads
        self._most = max(1, parameters // _PARAMETERS_A_THREAD) if parameters else usable_cores()
        self._folder = folder or Path(tempfile.gettempdir()) / f"palaver-engines-{_user()}"
        self._file: IO[str] | None = None
        self._place: Path | None = None
        self._looked = float("-inf")
        self.threads = threads
        """What the engine's thread uses at present."""

    def open(self) -> int:
        """Be counted; returns the threads to use."""
        if not self._fixed and fcntl is not None:
            with contextlib.suppress(OSError):
                self._folder.mkdir(mode=0o700, exist_ok=True)
                unlocked = self._folder / f".{os.getpid()}-{id(self)}"
                self._file = unlocked.open("w")
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._place = unlocked.rename(self._folder / unlocked.name[1:])  # seen by others only once it is held
        self.threads = self._fixed or self._share()
        return self.threads

    def settle(self) -> None:
        """Give torch this engine's threads; called in the thread that computes."""
        now = time.monotonic()
        if now - self._looked < _LOOK_AGAIN_SECONDS:
            return
        self._looked = now
        self.threads = self._fixed or self._share()
        if torch.get_num_threads() != self.threads:
            logger.info("computing with %d of %d cores", self.threads, usable_cores())
            torch.set_num_threads(self.threads)

    def close(self) -> None:
        """Be counted no more."""
        if self._place is not None:
            self._place.unlink(missing_ok=True)
            self._place = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _share(self) -> int:
        return min(self._most, max(1, usable_cores() // max(1, self._engines())))

    def _engines(self) -> int:
        """Engines that live on this machine under this user, this one counted."""
        if self._place is None:
            return 1
        others = (path for path in self._folder.iterdir() if path != self._place and not path.name.startswith("."))
        return 1 + sum(map(_is_held, others))


def _is_held(path: Path) -> bool:
    """Whether somebody holds the lock; a file that nobody holds was left by a process that died, and goes."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"
