"""A file of rollouts, one JSON object a line, that survives the end of its writer at any moment."""

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from palaver.core.errors import PalaverError
from palaver.simulation.rollout import Rollout

try:
    import fcntl
except ImportError:  # Windows: nobody keeps a second writer away there
    fcntl = None  # type: ignore[assignment]

_BEGINNING = b'{"id": "'
"""Of every line."""


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
        self._file = _open_alone(self.path)
        try:
            self._file.seek(0)
            whole, cut, rest = self._file.read().rpartition(b"\n")
            self.rollouts = _parsed(self.path, whole)
            if rest and not self.rollouts and not rest.startswith(_BEGINNING[: len(rest)]):
                raise PalaverError(f"{self.path} holds something else than rollouts: {rest[:40]!r}")
            self._file.truncate(len(whole) + len(cut))
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
        """Add one; it is the operating system's when this returns, so that killing this process loses nothing.

        Raises `PalaverError` where it cannot be written; the file then holds what it held.
        """
        assert self._file is not None, "use RolloutFile in a with statement"
        with _told("add to", self.path):
            _write(self._file, _line(rollout))
        self.rollouts[rollout.id] = rollout

    def _keep(self, wanted: Callable[[Rollout], bool]) -> None:
        """Put a file without the others in place of this one, in one step."""
        kept = {ident: rollout for ident, rollout in self.rollouts.items() if wanted(rollout)}
        if len(kept) == len(self.rollouts) or self._file is None:
            return
        beside = self.path.with_name(self.path.name + ".new")
        with _told("write", beside):
            try:
                beside.write_bytes(b"".join(map(_line, kept.values())))
            except OSError:
                beside.unlink(missing_ok=True)
                raise
        new = _open_alone(beside)
        beside.replace(self.path)
        self._file.close()
        self._file, self.rollouts = new, kept


def add(path: Path | str, rollout: Rollout) -> None:
    """Append one rollout to a file that several processes may add to; waits for its turn. Raises `PalaverError`."""
    path = Path(path)
    with _told("add to", path), _opened(path) as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        unended = file.read(1) not in (b"", b"\n")  # an unfinished line spoils itself, and not this one
        _write(file, b"\n" * unended + _line(rollout))


def check(path: Path | str) -> None:
    """Make the folder where there is none; raises `PalaverError` where `path` could not be added to."""
    path = Path(path)
    with _told("add to", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _opened(path).close()
        elif not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


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


def _write(file: IO[bytes], line: bytes) -> None:
    """Add all of `line` or nothing of it."""
    end = file.seek(0, os.SEEK_END)
    try:
        if file.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        with contextlib.suppress(OSError):  # a device
            file.truncate(end)
        raise


@contextlib.contextmanager
def _told(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PalaverError(f"cannot {what} {path}: {error.strerror}") from error


def _opened(path: Path) -> IO[bytes]:
    """The file, made where there is none; not buffered, so that what was written is the system's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+b", buffering=0)


def _open_alone(path: Path) -> IO[bytes]:
    with _told("write", path):
        file = _opened(path)
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise PalaverError(
                f"{path} is being written by another process; give this run a file of its own"
            ) from error
    return file
