"""A file of rollouts, one JSON object a line, that survives the end of its writer at any moment."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO

from palaver.core.errors import PalaverError
from palaver.simulation.rollout import Rollout

try:
    import fcntl
except ImportError:  # Windows: nobody keeps a second writer away there
    fcntl = None  # type: ignore[assignment]


class RolloutFile:
    """`with RolloutFile(path) as file:`, then `file.rollouts` holds what is there and `file.append` adds to it.

    A line that was cut short at the end of the file (its writer was killed) is taken off; a wrong line elsewhere
    raises `PalaverError`, and so does a file that another process writes. `without_failed` drops failed rollouts.
    """

    def __init__(self, path: Path | str, *, without_failed: bool = False) -> None:
        self.path = Path(path)
        self.rollouts: dict[str, Rollout] = {}
        """By id, in the order of the file."""
        self._without_failed = without_failed
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "RolloutFile":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open_alone(self.path)
        try:
            self._file.seek(0)
            whole, cut, _ = self._file.read().rpartition(b"\n")
            self._file.truncate(len(whole) + len(cut))
            self.rollouts = _parsed(self.path, whole)
            if self._without_failed:
                self._keep(lambda rollout: not rollout.failed)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def append(self, rollout: Rollout) -> None:
        """Add one; it is the operating system's when this returns, so that killing this process loses nothing."""
        assert self._file is not None, "use RolloutFile in a with statement"
        self._file.write(_line(rollout))
        self._file.flush()
        self.rollouts[rollout.id] = rollout

    def _keep(self, wanted: Callable[[Rollout], bool]) -> None:
        """Put a file without the others in place of this one, in one step."""
        kept = {ident: rollout for ident, rollout in self.rollouts.items() if wanted(rollout)}
        if len(kept) == len(self.rollouts) or self._file is None:
            return
        beside = self.path.with_name(self.path.name + ".new")
        beside.write_bytes(b"".join(map(_line, kept.values())))
        new = _open_alone(beside)
        beside.replace(self.path)
        self._file.close()
        self._file, self.rollouts = new, kept


def add(path: Path | str, rollout: Rollout) -> None:
    """Append one rollout to a file that several processes may add to; waits for its turn. Raises `PalaverError`."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=1 << 20) as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(_line(rollout))
    except OSError as error:
        raise PalaverError(f"cannot write the rollout into {path}: {error.strerror}") from error


def load(path: Path | str) -> list[Rollout]:
    """The rollouts of a file, without a line that was cut short at its end; raises `PalaverError`."""
    path = Path(path)
    try:
        whole = path.read_bytes().rpartition(b"\n")[0]
    except OSError as error:
        raise PalaverError(f"cannot read {path}: {error.strerror}") from error
    return list(_parsed(path, whole).values())


def _parsed(path: Path, whole: bytes) -> dict[str, Rollout]:
    rollouts = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            rollout = Rollout.from_record(json.loads(line))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise PalaverError(f"{path}, line {number}, is no rollout: {error}") from error
        rollouts[rollout.id] = rollout
    return rollouts


def _line(rollout: Rollout) -> bytes:
    return json.dumps(rollout.to_record(), ensure_ascii=True, default=str).encode() + b"\n"


def _open_alone(path: Path) -> IO[bytes]:
    file = path.open("a+b", buffering=1 << 20)
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise PalaverError(
                f"{path} is being written by another process; give this run a file of its own"
            ) from error
    return file
