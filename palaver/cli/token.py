"""`palaver token`: make a signed token."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import get_args

from palaver.cli.common import Parser, room
from palaver.core.commands import parse_duration
from palaver.core.errors import CommandError, ConfigError, PalaverError, ProtocolError
from palaver.core.message import Role
from palaver.core.names import tidy_name

NEVER = "never"


def parser() -> argparse.ArgumentParser:
    """The flags of a token."""
    flags = Parser(
        prog="palaver token",
        description="Prints a token that lets its bearer join. The hub reads it under the same PALAVER_SECRET.",
    )
    flags.add_argument("--role", choices=get_args(Role), required=True, help="what its bearer is in the room")
    flags.add_argument("--name", type=_name, help="the only name to join under (none: any)")
    flags.add_argument(
        "--room", type=room, action="append", default=[], help="a room to join; may be repeated (none: all)"
    )
    flags.add_argument(
        "--expires", type=_seconds, default="12h", metavar="TIME", help="how long it lasts: 30s, 5m, 12h, 7d or never"
    )
    return flags


def _name(text: str) -> str:
    try:
        return tidy_name(text)
    except ProtocolError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float | None:
    try:
        return None if text == NEVER else parse_duration(text)
    except CommandError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {NEVER}") from error


def main(argv: Sequence[str]) -> int:
    """Print a token; exit code 2 where there is no secret to sign with."""
    arguments = parser().parse_args(argv)
    try:
        print(_token(arguments))
    except PalaverError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _token(arguments: argparse.Namespace) -> str:
    from palaver.hub.tokens import SignedTokens

    secret = os.environ.get("PALAVER_SECRET")
    if not secret:
        raise ConfigError(
            "PALAVER_SECRET is not set: make one with `export PALAVER_SECRET=$(openssl rand -hex 32)`, "
            "and start the hub with the same"
        )
    tokens = SignedTokens(secret)
    return tokens.issue(arguments.role, name=arguments.name, rooms=arguments.room, lasting=arguments.expires)
