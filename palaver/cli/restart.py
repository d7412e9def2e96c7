"""`palaver restart`: end one process of a party and start it as it was started."""

import argparse
from collections.abc import Sequence

from palaver.cli import parties
from palaver.cli.common import Parser, run_async
from palaver.core.errors import ConfigError
from palaver.party.tmux import Tmux


def parser() -> argparse.ArgumentParser:
    """The flags of `palaver restart`."""
    flags = Parser(prog="palaver restart", description=__doc__)
    flags.add_argument("name", metavar="NAME", help="the process, by its name in the room; `hub` for the hub")
    parties.add_party_flag(flags, option=True)
    return flags


def main(argv: Sequence[str]) -> int:
    """Start it again; exit code 0 once it was started."""
    arguments = parser().parse_args(argv)
    return run_async(_restart(arguments.name, arguments.party))


async def _restart(name: str, named: str | None) -> int:
    party = parties.chosen(named)
    process = party.named(name)
    if process.console and not isinstance(party.stage, Tmux):
        raise ConfigError(f"{process.name} runs where somebody sits: palaver attach {party.plan.name}")
    parties.need_its_session(party)
    await party.restart(process)
    print(f"{process.name} is started again; palaver status shows how it is")
    return 0
