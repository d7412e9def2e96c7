"""`palaver import`: a conversation from elsewhere as a transcript that the other commands understand."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from palaver.cli.common import Parser
from palaver.cli.recorded import read_lines, room_called, write
from palaver.core.errors import ConfigError, PalaverError
from palaver.core.message import Message
from palaver.core.transcript import from_lines, to_line
from palaver.records.reading import from_irc, from_openai

FORMS: Final = ("openai", "irc", "jsonl")
_JSON: Final = re.compile(r"\{|\[\s*(\{|$)")
"""How a line of JSON begins; `[` alone begins lines of IRC logs too."""


def parser() -> argparse.ArgumentParser:
    """The flags of an import."""
    flags = Parser(prog="palaver import", description="Make a transcript of a conversation from elsewhere.")
    flags.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="OpenAI messages (a JSON object a line, or one JSON value) or an IRC log",
    )
    flags.add_argument("--format", choices=FORMS, help="its form (None: openai where it begins as JSON does, else irc)")
    flags.add_argument("--room", metavar="ROOM", help="the room it is called (None: the file's name)")
    flags.add_argument("--assistant", default="Assistant", metavar="NAME", help="openai: who the assistant is")
    flags.add_argument("--user", default="User", metavar="NAME", help="openai: who the user is, where no name is given")
    flags.add_argument("-o", "--output", type=Path, metavar="FILE", help="the transcript to write (None: ROOM.jsonl)")
    return flags


def main(argv: Sequence[str]) -> int:
    """Write the transcript; exit code 2 where the file cannot be read or is of no known form."""
    flags = parser().parse_args(argv)
    try:
        return _import(flags)
    except PalaverError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _import(flags: argparse.Namespace) -> int:
    lines = read_lines(flags.file)
    room = room_called(flags.room or re.sub(r"[^A-Za-z0-9._-]+", "-", flags.file.stem).strip("-._")[:64] or "imported")
    try:
        messages = _messages(flags, lines, room)
    except PalaverError as error:
        raise ConfigError(f"{flags.file}: {error}") from error
    if not messages:
        raise ConfigError(f"{flags.file} holds no messages")
    output = flags.output or Path(f"{room}.jsonl")
    if output.exists() and flags.output is None:
        raise ConfigError(f"{output} is there already: say where to write with -o FILE")
    write(output, b"".join(to_line(message) + b"\n" for message in messages))
    names = dict.fromkeys(message.sender for message in messages)
    print(f"{len(messages)} messages of {', '.join(names)} in {output}")
    return 0


def _messages(flags: argparse.Namespace, lines: Sequence[str], room: str) -> list[Message]:
    first = next((line.lstrip() for line in lines if line.strip()), "")
    form = flags.format or ("irc" if not _JSON.match(first) else "jsonl" if '"seq":' in first else "openai")
    match form:
        case "openai":
            return from_openai(lines, room=room, assistant=flags.assistant, user=flags.user)
        case "irc":
            return from_irc(lines, room=room)
    return list(from_lines(lines))
