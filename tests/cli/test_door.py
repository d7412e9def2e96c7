"""How a program ends: with its exit code and all that it printed, also where torch is not taken down."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from palaver import cli
from tests.processes import ROOT, program

pytestmark = pytest.mark.system

SCRIPT = """
import atexit, logging, sys, types
import palaver.cli

class Torch(types.ModuleType):
    def __del__(self, say=print):
        say("taken down")

def command(argv):
    sys.modules["torch"] = Torch("torch")
    atexit.register(print, "closed")
    logging.getLogger().addHandler(logging.StreamHandler())
    logging.warning("logged")
    print("printed", end="")
    {ends}

sys.modules["palaver.cli.server"] = types.ModuleType("server")
sys.modules["palaver.cli.server"].main = command
palaver.cli.door("server")
"""


UNREAD = """
import sys, types
import palaver.cli

def command(argv):
    sys.stdin.readline()
    {ends}

sys.modules["palaver.cli.server"] = types.ModuleType("server")
sys.modules["palaver.cli.server"].main = command
palaver.cli.door("server")
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("ends", ["print('x' * 100_000)", "print('x'); return 0", "print('x'); sys.exit(0)"])
def test_a_program_whose_output_nobody_reads_ends_without_a_word(ends: str, unbuffered: str) -> None:
    """Large or small, written at once or when it ends: `palaver export … | head`."""
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD.format(ends=ends)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": str(ROOT)},
    ) as running:
        assert running.stdin is not None and running.stdout is not None and running.stderr is not None
        running.stdout.close()
        running.stdin.close()
        assert (running.stderr.read(), running.wait(30)) == (b"", 141)


@pytest.mark.system
@pytest.mark.parametrize("flags", [["palaver", "server"], ["palaver.api", "--hub-port", "0", "--metrics-port", "0"]])
def test_a_server_whose_output_nobody_reads_does_not_say_that_its_port_is_taken(
    flags: list[str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", *flags, "--port", "0", "--data-dir", "data"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        told, code = running.stderr.read(), running.wait(30)
    assert code == 141 and b"cannot listen" not in told, told


async def test_a_pipe_that_breaks_elsewhere_is_a_mistake_to_be_seen() -> None:
    async with program("-c", UNREAD.format(ends="raise BrokenPipeError('elsewhere')")) as running:
        assert await running.exit() == 1
    assert "BrokenPipeError: elsewhere" in running.output


def test_ctrl_c_while_a_program_is_still_being_read_in_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    assert cli.run("server", []) == 0


@pytest.mark.parametrize(
    ("ends", "code"),
    [("return 0", 0), ("return 3", 3), ("raise KeyboardInterrupt", 0), ("sys.exit(2)", 2), ("1 / 0", 1)],
    ids=["well", "not well", "Ctrl-C", "a flag", "a mistake"],
)
async def test_a_program_ends_with_its_code_and_with_all_it_printed(ends: str, code: int) -> None:
    env = {"PYTHONUNBUFFERED": ""}
    async with program("-c", SCRIPT.format(ends=ends), env=env) as running:
        assert await running.exit() == code
    for words in ("logged", "printed", "closed"):
        assert words in running.output
    by_itself = ends.startswith("return") or "KeyboardInterrupt" in ends
    assert ("taken down" not in running.output) is by_itself


def test_a_terminal_without_the_letters_for_it_gets_question_marks() -> None:
    """As in a locale like C or de_DE.ISO-8859-1; the help has an ellipsis."""
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    told = subprocess.run(
        [sys.executable, "-m", "palaver", "--help"], capture_output=True, cwd=ROOT, env=environment, check=False
    )
    assert (told.returncode, told.stderr) == (0, b"")
    assert b"training data, ?" in told.stdout


def test_a_byte_that_is_no_letter_is_taken_for_a_mark() -> None:
    command = "import sys, palaver.cli; palaver.cli.end_with(lambda: print(input()) or 0)"
    told = subprocess.run(
        [sys.executable, "-c", command],
        input=b"hall\xf6\n",
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert (told.returncode, told.stdout) == (0, "hall\ufffd\n".encode())
