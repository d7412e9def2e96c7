"""`palaver export`: a recorded conversation in another form."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from palaver.cli.common import Parser
from palaver.cli.recorded import LOG_HELP, Recording, add_room_flag, as_json, read, write
from palaver.core.entry import encode_entry
from palaver.core.errors import ConfigError, PalaverError
from palaver.core.message import Message
from palaver.records.corpus import to_convokit
from palaver.records.formats import FORMATS, SUFFIXES, participant, rendered, seen_messages
from palaver.records.pseudonyms import blinded

FOLDERS: Final = ("convokit",)
"""Forms that are a folder of files."""
LOG: Final = "log"
"""The form that `palaver replay` and `palaver fork` can read: the hub's own log of the room, an entry a line."""


def parser() -> argparse.ArgumentParser:
    """The flags of an export."""
    flags = Parser(prog="palaver export", description="Write a recorded conversation in another form.")
    flags.add_argument("log", metavar="LOG", help=LOG_HELP)
    forms = (*FORMATS, *FOLDERS, LOG)
    flags.add_argument("--format", choices=forms, help="the form (None: what the name of -o ends in, or jsonl)")
    flags.add_argument("--as", dest="seen_as", metavar="NAME", help="as this participant saw it")
    flags.add_argument("--blind", action="store_true", help="pseudonyms for all names, also within what was said")
    flags.add_argument("--seed", type=int, metavar="N", help="with --blind: draw the order of the pseudonyms")
    flags.add_argument("--key", type=Path, metavar="FILE", help="where --blind keeps who is who (None: FILE.key.json)")
    flags.add_argument("-o", "--output", type=Path, metavar="FILE", help="the file, or folder, to write (None: stdout)")
    flags.add_argument("--title", help="what md, html and convokit are headed with (None: the room's name)")
    add_room_flag(flags)
    return flags


def main(argv: Sequence[str]) -> int:
    """Write it; exit code 2 where something that was asked for cannot be had, 1 where it cannot be written."""
    flags = parser().parse_args(argv)
    try:
        return _export(flags)
    except PalaverError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def _export(flags: argparse.Namespace) -> int:
    if not flags.blind and (flags.seed is not None or flags.key is not None):
        raise ConfigError("--seed and --key go with --blind")
    recording = read(flags.log, flags.room)
    form = flags.format or SUFFIXES.get(flags.output.suffix if flags.output else "", "jsonl")
    if form == LOG:
        return _export_log(flags, recording)
    if not recording.messages and recording.entries:
        raise ConfigError(f"{flags.log} is a hub's log, whose words are in its data directory: name that")
    messages, seen_as, title = recording.messages, _viewer(flags, recording.messages), flags.title or recording.room
    if seen_as is not None:
        messages = seen_messages(messages, seen_as)
    if flags.blind:
        messages, seen_as, title = _blinded(flags, recording, messages, seen_as)
    if form in FOLDERS:
        return _export_folder(flags, messages, title)
    write(flags.output, rendered(form, messages, seen_as=seen_as, title=title))
    return 0


def _viewer(flags: argparse.Namespace, messages: Sequence[Message]) -> str | None:
    if flags.seen_as is None:
        return None
    name = participant(messages, flags.seen_as)
    if name is None:
        there = dict.fromkeys(message.sender for message in messages)
        raise ConfigError(f"--as {flags.seen_as!r} took no part; these did: {', '.join(there) or 'nobody'}")
    return name


def _blinded(
    flags: argparse.Namespace, recording: Recording, messages: Sequence[Message], seen_as: str | None
) -> tuple[list[Message], str | None, str]:
    """The messages under pseudonyms; the key is written first, so that none is without."""
    names = dict.fromkeys(entry.name for entry in recording.entries if entry.session)
    hidden, blinding = blinded(messages, names=names, seed=flags.seed)
    place = flags.key or (Path(f"{flags.output}.key.json") if flags.output else None)
    if place is None:
        raise ConfigError("--blind to standard output needs --key FILE, where who is who is kept")
    write(place, as_json(blinding.key), private=True)
    title = blinding.text(flags.title or recording.room)
    return hidden, None if seen_as is None else blinding.name(seen_as), title


def _export_folder(flags: argparse.Namespace, messages: Sequence[Message], title: str) -> int:
    if flags.output is None:
        raise ConfigError("--format convokit is a folder of files: say where with -o FOLDER")
    for name, body in to_convokit(messages, title=title).items():
        write(flags.output / name, body)
    return 0


def _export_log(flags: argparse.Namespace, recording: Recording) -> int:
    if not recording.entries:
        raise ConfigError(f"--format log: {flags.log} is a transcript; only a data directory has the hub's log")
    if flags.blind or flags.seen_as:
        raise ConfigError("--format log is the whole log, as it is: --blind and --as do not go with it")
    write(flags.output, b"".join(encode_entry(entry) + b"\n" for entry in recording.entries), private=True)
    return 0
