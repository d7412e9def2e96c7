"""`palaver status`: a table of a party's processes, and how they are seen in their rooms."""

import argparse
from collections.abc import Sequence

from palaver.cli import parties
from palaver.cli.common import Parser, run_async
from palaver.participants.console.clean import clean_name
from palaver.party.party import Party
from palaver.party.process import Process
from palaver.party.state import Life, ago
from palaver.party.telling import describe
from palaver.party.watch import Watch, glance, is_healthy

_HEAD = ("NAME", "WHERE", "PID", "FOR", "PROCESS", "IN THE ROOM")


def parser() -> argparse.ArgumentParser:
    """The flags of `palaver status`."""
    flags = Parser(prog="palaver status", description=__doc__)
    parties.add_party_flag(flags)
    return flags


def main(argv: Sequence[str]) -> int:
    """Print the table; exit code 1 where a process has failed or the hub does not answer."""
    return run_async(_status(parser().parse_args(argv).party))


async def _status(named: str | None) -> int:
    party = parties.chosen(named)
    plan = party.plan
    healthy = await is_healthy(plan.url)
    rooms = [seat.room for process in plan.processes for seat in process.seats]
    watch = await glance(plan, rooms, parties.watchers_token()) if healthy and rooms else Watch()
    lives = party.lives()
    rows = [_HEAD, *(_row(party, process, life, watch) for process, life in lives)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\nparty {plan.name} ({party.record.backend}), hub {plan.url} {'answers' if healthy else 'does not answer'}")
    if watch.failure is not None:
        print(f"who is in the room cannot be seen: {watch.failure}")
    return 1 if not healthy or any(life.has_failed for _, life in lives) else 0


def _row(party: Party, process: Process, life: Life, watch: Watch) -> tuple[str, ...]:
    pane = party.record.panes.get(process.slug)
    where = process.host or (f"pane {pane}" if pane else "here")
    idle = process.console and life.since is None
    return (
        clean_name(process.name),
        where,
        str(life.leader or "-"),
        ago(life.since) if life.since is not None else "-",
        "palaver attach" if idle else str(life),
        _in_room(process, watch),
    )


def _in_room(process: Process, watch: Watch) -> str:
    """How its seats are; those of further personas by name."""
    states = {seat.name: describe(watch.of(seat)) if watch.of(seat) else "-" for seat in process.seats}
    if len(states) < 2:
        return "".join(states.values()) or "-"
    return ", ".join(f"{clean_name(name)} {state}" for name, state in states.items())
