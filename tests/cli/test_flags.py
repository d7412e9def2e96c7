"""What flags take and refuse, and in which words."""

import errno
import importlib.util
from importlib import import_module
from pathlib import Path

import pytest

from palaver.cli import demo, server
from tests.processes import program

MISSED = ("aiohttp", "fastapi", "uvicorn")
DEMO = ["-m", "palaver", "demo"]
WRONG = [
    ("demo", ["--port", "99999"], "argument --port: 99999 is not within 0 to 65535"),
    ("api", ["--hub-port", "70000"], "argument --hub-port: 70000 is not within 0 to 65535"),
    ("server", ["--history", "all"], "argument --history: 'all' is no whole number"),
    ("server", ["--lease", "nan"], "argument --lease: nan is not within 1 to 1000000"),
    ("client", ["--delay", "slow"], "argument --delay: 'slow' is no number"),
    ("client", ["--threads", "-2"], "argument --threads: -2 is not within 0 to 1024"),
    ("demo", ["--turns", "0"], "argument --turns: 0 is below 1"),
    ("demo", ["--policy", "round_robbin"], "argument --policy: invalid choice: 'round_robbin'"),
    ("moderator", ["--room", "a room"], "argument --room: room 'a room' must have 1 to 64 letters, digits"),
    ("client", ["--modle", "tiny"], "unrecognized arguments: --modle tiny; did you mean --model?"),
    ("client", ["--delay=1", "more"], "unrecognized arguments: more\n"),
]


@pytest.mark.parametrize(("command", "argv", "said"), WRONG)
def test_a_flag_that_cannot_be_is_named_in_two_lines(
    command: str, argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = import_module(f"palaver.cli.{command}").parser()
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(argv)
    told = capsys.readouterr().err
    assert f": error: {said}" in told
    assert told.count("\n") == 2
    assert told.endswith(" --help tells all flags\n")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EADDRINUSE, "something listens there already; take another --port"),
        (errno.EADDRNOTAVAIL, "this machine has no such address"),
        (errno.EACCES, "only root may listen on a port below 1024"),
        (errno.EMFILE, "Too many open files"),
    ],
)
def test_a_hub_that_cannot_listen_says_what_is_in_the_way(number: int, said: str) -> None:
    assert said in server.hindrance(OSError(number, "Too many open files"))


@pytest.mark.system
@pytest.mark.parametrize(("command", "flag"), [(["server.py", "--port", "0"], "--data-dir"), (DEMO, "--folder")])
async def test_a_folder_that_cannot_be_one_is_named_as_the_flag_has_it(
    command: list[str], flag: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    async with program(*command, flag, str(tmp_path / "file")) as running:
        assert await running.exit() == 2
    assert running.output.strip() == f"error: {flag} {tmp_path / 'file'}: is a file, not a folder"


def test_the_demo_names_all_at_once_that_it_misses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in MISSED else there(name))
    assert demo.main(["--turns", "1"]) == 1
    told = "aiohttp, fastapi, uvicorn are not installed: run `pip install 'palaver[openai,api]'`"
    assert capsys.readouterr().err == f"error: {told}\n"
