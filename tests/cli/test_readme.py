"""The README says what the programs do."""

import re
import shlex
import subprocess
import sys
from importlib import import_module

import pytest

from tests.processes import ROOT
from tools.flags import COMMANDS, README, filled

TEXT = README.read_text(encoding="utf-8")


def test_its_tables_of_flags_are_those_of_the_parsers() -> None:
    assert filled(TEXT) == TEXT, "run `python tools/flags.py`"


def test_every_command_line_it_shows_is_understood() -> None:
    """Also those that no test runs (`tests/test_setups.py` runs the set-ups)."""
    shown = re.findall(
        r"^ *(?:\S+=\S+ )?python (server|client|user_sim|moderator)\.py((?:.*\\\n)*.*)$", TEXT, re.MULTILINE
    )
    lines = [(name, rest.replace("\\\n", " ")) for name, rest in shown]
    assert len(lines) > 12
    for name, rest in lines:
        import_module(f"palaver.cli.{name}").parser().parse_args(shlex.split(rest, comments=True))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_flag_with_its_default(command: str) -> None:
    """A2.2: `--help` shows all flags with defaults."""
    shown = import_module(f"palaver.cli.{command}").parser().format_help()
    for flag in re.findall(r"^\| `(--[a-z0-9-]+)", TEXT.partition(f"flags:{command} ")[2].partition("<!--")[0], re.M):
        assert flag in shown


@pytest.mark.system
@pytest.mark.parametrize("door", ["server.py", "moderator.py"])
def test_the_hub_s_and_the_console_s_help_come_at_once_and_load_no_model_library(door: str) -> None:
    """A2.19: below 0.5 s (of processor time, on a machine that may be busy), without torch, transformers and openai."""
    check = (
        "import runpy, sys, resource\n"
        f"sys.argv = [{door!r}, '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "loaded = {'torch', 'transformers', 'openai'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime)\n"
    )
    used = []
    for _ in range(3):  # the first may compile what was changed
        done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "usage:" in done.stdout
        used.append(float(done.stdout.split()[-1]))
    assert min(used) < 0.5
