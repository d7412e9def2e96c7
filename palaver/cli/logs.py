"""`palaver logs`: what a process of a party printed."""

import argparse
import asyncio
import sys
from collections.abc import Iterable, Sequence

from palaver import crew
from palaver.cli import parties
from palaver.cli.common import Parser, run_async
from palaver.cli.lifetime import until_stopped
from palaver.participants.console.clean import clean
from palaver.party.party import Party
from palaver.party.process import Process
from palaver.party.tmux import Tmux

_LOOK = 0.2
"""Seconds between two looks at a file, which does not tell that it has grown."""


def parser() -> argparse.ArgumentParser:
    """The flags of `palaver logs`."""
    flags = Parser(prog="palaver logs", description=__doc__)
    flags.add_argument("name", metavar="NAME", help="the process, by its name in the room; `hub` for the hub")
    flags.add_argument("-f", "--follow", action="store_true", help="go on as it prints more, until Ctrl-C")
    parties.add_party_flag(flags, option=True)
    return flags


def main(argv: Sequence[str]) -> int:
    """Print it, oldest line first."""
    return run_async(until_stopped(_logs(parser().parse_args(argv))))


async def _logs(flags: argparse.Namespace) -> int:
    party = parties.chosen(flags.party)
    process = party.named(flags.name)
    try:
        if process.console and isinstance(party.stage, Tmux):
            _show(party.stage.screen(process))  # it draws its pane; what it drew is of no use in a file
        else:
            await _from_file(party, process, follow=flags.follow)
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stderr.close()
    return 0


async def _from_file(party: Party, process: Process, *, follow: bool) -> None:
    lines = crew.words(party.log(process))
    _show(lines)
    while follow:
        await asyncio.sleep(_LOOK)
        now = crew.words(party.log(process))
        _show(now[len(lines) :] if len(now) >= len(lines) else now)
        lines = now


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        print(clean(line).rstrip())
    sys.stdout.flush()
