"""`palaver attach`: sit down at a party that is up, at its tmux session or at the moderator's console."""

import argparse
import os
from collections.abc import Sequence

from palaver.cli import parties
from palaver.cli.common import Parser, run_async
from palaver.core.errors import ConfigError
from palaver.party.tmux import Tmux


def parser() -> argparse.ArgumentParser:
    """The flags of `palaver attach`."""
    flags = Parser(prog="palaver attach", description=__doc__)
    parties.add_party_flag(flags)
    return flags


def main(argv: Sequence[str]) -> int:
    """The session or the console takes this process's place."""
    return run_async(_attach(parser().parse_args(argv).party))


async def _attach(named: str | None) -> int:
    party = parties.chosen(named)
    if isinstance(party.stage, Tmux):
        parties.need_its_session(party)
        command = party.stage.attaching(os.environ)
    elif party.console is None:
        raise ConfigError(f"party {party.plan.name} has no moderator's seat; write `moderator: true` in its file")
    else:
        command = ["sh", str(party.folder.path / f"{party.console.slug}.sh")]
    if not parties.is_terminal():
        raise ConfigError("attach needs a terminal on stdin and stdout")
    os.execvp(command[0], command)
