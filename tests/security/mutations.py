"""Takes each check of docs/security.md out, in a copy of the project, and sees that its test fails.

python -m tests.security.mutations [WORDS…]      # all rows, or those whose attempt holds the words
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.security.rows import SIDES, Row, node_of

ROOT: Final = Path(__file__).resolve().parents[2]
NOT_COPIED: Final = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "logs", "data", "benchmarks")
AT_ONCE: Final = 2
_FAILED: Final = 1
"""pytest: tests ran, and some failed. Others mean that they could not be run, which proves nothing."""


@contextmanager
def copy_of_the_project() -> Iterator[Path]:
    """A place where the source may be damaged."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        yield Path(shutil.copytree(ROOT, Path(folder) / "palaver", ignore=NOT_COPIED))


def run(place: Path, nodes: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy, which imports itself and writes no bytecode that could outlive a change."""
    environ = os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "60", *nodes]
    return subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=False)


def outcome(place: Path, row: Row) -> str:
    """`noticed` where the row's test fails without its check; else what happened."""
    path = place / row.path
    source = path.read_text(encoding="utf-8")
    if source.count(row.old) != 1:
        return f"not applied: the change fits {source.count(row.old)} places of {row.path}"
    path.write_text(source.replace(row.old, row.new), encoding="utf-8")
    try:
        done = run(place, [node_of(row)])
    finally:
        path.write_text(source, encoding="utf-8")
    if done.returncode == _FAILED:
        return "noticed"
    what = "NOT NOTICED" if done.returncode == 0 else f"did not run ({done.returncode})"
    return f"{what}: {' '.join(done.stdout.split()[-20:])}"


def outcomes(rows: Sequence[Row], at_once: int = AT_ONCE) -> Iterator[tuple[Row, str]]:
    """Each row and what became of its change, as it comes."""
    places: SimpleQueue[Path] = SimpleQueue()

    def one(row: Row) -> tuple[Row, str]:
        place = places.get()
        try:
            return row, outcome(place, row)
        finally:
            places.put(place)

    with copy_of_the_project() as first, copy_of_the_project() as second, ThreadPoolExecutor(at_once) as workers:
        for place in (first, second)[:at_once]:
            places.put(place)
        yield from workers.map(one, rows)


def main(words: Sequence[str]) -> int:
    """Print a line for each row; 1 where a change was not noticed."""
    rows = [row for side in SIDES.values() for row in side if all(word in row.attempt for word in words)]
    with copy_of_the_project() as place:
        whole = run(place, list(dict.fromkeys(map(node_of, rows))))
        if whole.returncode != 0:
            print(f"the tests fail without any change:\n{whole.stdout[-3000:]}")
            return 1
    started, unnoticed = time.perf_counter(), 0
    for row, what in outcomes(rows):
        unnoticed += what != "noticed"
        print(f"{what:<12} {row.attempt}  ({node_of(row)})", flush=True)
    took = time.perf_counter() - started
    print(f"{len(rows) - unnoticed} of {len(rows)} changes were noticed, in {took:.0f} s")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
