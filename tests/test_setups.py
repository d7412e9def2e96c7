"""The set-ups that the README shows, run as they stand there, with the embedded model in place of large ones."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.hubs import joined
from tests.processes import ROOT, Program, program

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SETUPS = {
    "## Quick start: four terminals": ["Zen Sage", "TinkerBot"],
    "A research chat:": ["Researcher"],
    "A debate of several models:": ["Philosopher", "Scientist", "Historian"],
}


def commands(heading: str) -> list[list[str]]:
    """The command lines of a set-up, from its heading to the moderator's."""
    shown = TEXT[TEXT.index(heading) :]
    lines = re.findall(r"^ *python ((?:server|client|moderator)\.py.*)$", shown, re.MULTILINE)
    end = next(place for place, line in enumerate(lines) if line.startswith("moderator.py"))
    return [shlex.split(line) for line in lines[: end + 1]]


async def started(stack: AsyncExitStack, command: list[str], *more: str, folder: Path) -> Program:
    """A program of a set-up; the last word on a flag counts. A hub writes below `folder`."""
    cwd = folder if command[0] == "server.py" else ROOT
    return await stack.enter_async_context(program(*command, *more, cwd=cwd))


@pytest.mark.system
@pytest.mark.parametrize("heading", SETUPS)
async def test_a_set_up_of_the_readme_runs_as_written(heading: str, tmp_path: Path) -> None:
    """A2.20: every model answers the moderator, and all programs end with 0."""
    (server, *clients, moderator), names = commands(heading), SETUPS[heading]
    assert len(clients) == len(names)
    async with AsyncExitStack() as stack:
        hub = await started(stack, server, "--port", "0", folder=tmp_path)
        url = (await hub.until(r"ws://[\d.]+:\d+"))[0]
        models = [
            await started(
                stack,
                one,
                "--server",
                url,
                "--model",
                "tiny",
                "--threads",
                "1",
                "--max-generation-tokens",
                "30",
                folder=tmp_path,
            )
            for one in clients
        ]
        watcher = await stack.enter_async_context(joined(url, "Watcher", "observer", deltas=False))
        await watcher.until_ready(*names)
        async with program(*moderator, "--server", url, stdin=b"What do you all think of tea?\n") as console:
            assert await console.exit() == 0, console.output
        waiting = set(names)
        while waiting:
            waiting.discard((await watcher.until("message", role="model"))["from"])
        for one in (*models, hub):
            one.process.terminate()
            assert await one.exit() == 0, one.output
    log = next(word for flag, word in pairwise(server) if flag == "--log-file")
    assert "joined main" in (tmp_path / log).read_text()
    assert (tmp_path / "logs" / "main.md").stat().st_size


def test_an_old_python_is_named_before_anything_is_installed(tmp_path: Path) -> None:
    """pip would complain of websockets, in four lines."""
    if shutil.which("make") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs make: apt-get install make")
    old = tmp_path / "python3.9"
    pretend = "import sys; sys.version_info = (3, 9, 1); exec(sys.argv[2])"
    old.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{pretend}" "$@"\n')
    old.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "requirements.txt"):
        (tmp_path / name).touch()
    made = subprocess.run(["make", "demo", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode != 0 and not (tmp_path / ".venv").exists()
    assert made.stderr.startswith("this is Python 3.9; Palaver needs 3.11: make PYTHON=python3.12")
