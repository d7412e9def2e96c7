"""`palaver down`: end a party and all of its processes, wherever they run."""

import argparse
from collections.abc import Sequence

from palaver.cli import parties
from palaver.cli.common import Parser, run_async
from palaver.core.errors import ConfigError


def parser() -> argparse.ArgumentParser:
    """The flags of `palaver down`."""
    flags = Parser(prog="palaver down", description=__doc__)
    parties.add_party_flag(flags)
    return flags


def main(argv: Sequence[str]) -> int:
    """End it; exit code 0 where nothing of it runs any more, also where nothing did."""
    return run_async(_down(parser().parse_args(argv).party))


async def _down(named: str | None) -> int:
    try:
        party = parties.chosen(named)
    except ConfigError as error:
        if parties.is_ambiguous(named):
            raise
        print(error)
        return 0
    await party.down()
    print(f"party {party.plan.name} is down; no process is left behind")
    return 0
