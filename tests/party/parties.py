"""Parties that really run, for tests: `palaver` as a user calls it, with state, tmux and logs below one folder."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from tests.processes import ROOT

PARTY = """\
name: test
server: {port: 0, data_dir: data, no_transcripts: true, policy: round_robin}
clients:
  - {name: Ada, backend: scripted, model: ada.txt}
  - {name: Bob, backend: scripted, model: bob.txt, delay: 0.2}
"""


class Home:
    """A folder in which parties run; whatever is left of them is killed at the end."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PALAVER_", "TMUX"))}
        state, sockets = folder / "state", folder / "tmux"
        sockets.mkdir()
        self.environ = {
            **own,
            "XDG_STATE_HOME": str(state),
            "TMUX_TMPDIR": str(sockets),
            "PYTHONPATH": str(ROOT),
            "PALAVER_TEST_HOME": str(folder),
            **environ,
        }
        (folder / "ada.txt").write_text("Ada's first.\nAda's second.\n" * 50)
        (folder / "bob.txt").write_text("Bob's first.\nBob's second.\n" * 50)

    def write(self, text: str = PARTY) -> str:
        """Lay down `party.yaml`."""
        (self.folder / "party.yaml").write_text(text)
        return "party.yaml"

    def palaver(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """`palaver WORDS…`, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "palaver", *words],
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @contextlib.contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """`palaver WORDS…` while the block lasts."""
        with subprocess.Popen(
            [sys.executable, "-m", "palaver", *words],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def living(self) -> list[psutil.Process]:
        """Every process that was started from here, however it is called and whoever its parent is now; see `info`."""
        found = []
        for process in psutil.process_iter(["name", "cmdline"]):
            with contextlib.suppress(psutil.Error):
                mark = str(self.folder)
                ours = (
                    mark in " ".join(process.info["cmdline"] or [])
                    or process.environ().get("PALAVER_TEST_HOME") == mark
                )
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def named(self, name: str) -> psutil.Process:
        """The Python that runs under a name."""
        words = {name, "palaver"}
        (found,) = [each for each in self.living() if words <= set(each.info["cmdline"])]
        return found

    def status(self, **environ: str) -> dict[str, str]:
        """The rows of `palaver status` by name."""
        rows = self.palaver("status", **environ).stdout.split("\n\n")[0].splitlines()[1:]
        return {row.split("  ")[0]: row for row in rows}

    def kill_all(self) -> None:
        """Leave nothing for the next test."""
        for process in self.living():
            with contextlib.suppress(psutil.Error):
                process.kill()


def until(true: Callable[[], object], seconds: float = 30) -> None:
    """Look until it is so: processes and files of others tell nobody."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.05)
