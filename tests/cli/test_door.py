"""How a program ends: with its exit code and all that it printed, also where torch is not taken down."""

import pytest

from tests.processes import program

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
