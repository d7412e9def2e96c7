"""`palaver replay`: a recorded conversation run again, with its models' replies from the record."""

import argparse
import sys
from collections.abc import Sequence

from palaver.cli.common import Parser, run_async
from palaver.cli.recorded import PLACES_HELP, add_room_flag, read
from palaver.core.errors import ConfigError
from palaver.replay.comparing import differing_message
from palaver.replay.replaying import Missed, Report, replay


def parser() -> argparse.ArgumentParser:
    """The flags of a replay."""
    flags = Parser(
        prog="palaver replay", description="Run a recorded conversation again. No model is asked, no hub is needed."
    )
    flags.add_argument("log", metavar="LOG", help=f"{PLACES_HELP}, or an exported log")
    add_room_flag(flags)
    return flags


def main(argv: Sequence[str]) -> int:
    """Exit code 0 where it comes out the same, 1 where it does not, 2 where it cannot be run."""
    flags = parser().parse_args(argv)
    return run_async(_replay(flags))


async def _replay(flags: argparse.Namespace) -> int:
    recording = read(flags.log, flags.room)
    if not recording.entries:
        raise ConfigError(
            f"{flags.log} holds what was said, not the hub's log: give the data directory, or a log of it"
        )
    try:
        report = await replay(recording.entries)
    except Missed as missed:
        print(f"not the same: {missed}", file=sys.stderr)
        return 1
    if recording.messages and (
        told := differing_message(recording.messages, report.messages[: len(recording.messages)])
    ):
        print(f"not the same: {told}", file=sys.stderr)
        return 1
    _tell(report)
    return 0


def _tell(report: Report) -> None:
    taken = sum(report.as_recorded.values())
    print(f"same: {len(report.messages)} messages, {report.replies} replies made again from the record")
    if taken:
        print(f"{taken} replies were taken as they are:")
        for (name, reason), count in report.as_recorded.items():
            print(f"  {count} of {name}, who {reason}")
