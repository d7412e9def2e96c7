"""`palaver fork`: a new room that begins as a recorded one did, up to one of its messages."""

import argparse
import re
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from palaver.cli.backends import prompt_text
from palaver.cli.common import Parser, run_async
from palaver.cli.recorded import LOG_HELP, Recording, read, room_called
from palaver.core.entry import Entry
from palaver.core.errors import CommandError, ConfigError
from palaver.core.message import AGENTS, key_of
from palaver.core.protocol import encode
from palaver.core.steering.content import SETTINGS
from palaver.core.steering.turn import like
from palaver.hub.sqlite_log import SqliteLog
from palaver.replay.forking import Past, entries_of_messages, said_in

_FLAGS: Final = {
    "temperature": "--temperature",
    "max_tokens": "--max-generation-tokens",
    "history": "--history-length",
    "delay": "--delay",
    "seed": "--seed",
    "context_tokens": "--max-context-tokens",
    "backend": "--backend",
    "api_base": "--api-base",
}
"""Settings as the clients' flags have them; a personality is told by the hub."""


def parser() -> argparse.ArgumentParser:
    """The flags of a fork."""
    flags = Parser(
        prog="palaver fork", description="Start a new room from the beginning of a recorded one. Its hub must not run."
    )
    flags.add_argument("log", metavar="LOG", help=LOG_HELP)
    flags.add_argument("--at", type=int, required=True, metavar="SEQ", help="the last message that both have")
    flags.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME.WHAT=VALUE",
        help=f"change a participant: {', '.join(SETTINGS)} (a persona is a file or a text); may be repeated",
    )
    flags.add_argument(
        "--room", metavar="ROOM", help="what the new room is called (None: the old one's name and a number)"
    )
    flags.add_argument("--data-dir", type=Path, metavar="DIR", help="where it is written (None: where LOG lies)")
    return flags


def main(argv: Sequence[str]) -> int:
    """Write the room and say how to go on; exit code 2 where that cannot be."""
    return run_async(_fork(parser().parse_args(argv)))


async def _fork(flags: argparse.Namespace) -> int:
    recording = read(flags.log)
    folder = flags.data_dir or recording.folder
    if folder is None:
        raise ConfigError(f"{flags.log} lies in no data directory: say with --data-dir DIR where the room is to be")
    past = Past(recording.entries, flags.at) if recording.entries else None
    agents = _agents(recording, past)
    changes = _changes(flags.set, [*agents])
    log = SqliteLog(folder)
    await log.open()
    try:
        room = _new_room(flags.room, recording.room, await log.rooms())
        entries = _entries(flags.at, recording, past, room, _kept(agents, changes))
        said = said_in(entries)
        for entry in entries:  # all of them in one commit
            log.append(entry)
        log.record(room, [(message.seq, encode(message)) for message in said])
        await log.messages(room, 0, 1)  # answered when all of it is written
    finally:
        await log.close()
    begins = f"begins with {len(said)} messages of {recording.room}" if said else "begins before the first message"
    print(f"room {room} in {folder} {begins}. To go on:\n")
    for line in _commands(folder, room, agents, changes):
        print(f"  {line}")
    return 0


def _entries(
    at: int, recording: Recording, past: Past | None, room: str, settings: Mapping[str, Mapping[str, Any]]
) -> list[Entry]:
    now, ident = time.time(), f"fork-{secrets.token_hex(4)}"
    if past is not None:
        return past.entries_of(room, settings=settings, now=now, ident=ident)
    return entries_of_messages(recording.messages, room, at=at, settings=settings, now=now, ident=ident)


def _agents(recording: Recording, past: Past | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Models and simulated users that sat there: name to role and how it spoke then, as far as that is known."""
    if past is None:
        return {one.sender: (one.role, {}) for one in recording.messages if one.role in AGENTS}
    return {
        member.name: (member.role, {**past.told.get(member.name, {}), **record.settings})
        for _, member, record in past.state.agents()
    }


def _changes(words: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`--set` by name; raises `ConfigError` that says what is wrong with a word."""
    changes: dict[str, dict[str, Any]] = {}
    for word in words:
        place, equals, value = word.partition("=")
        given, dot, what = place.rpartition(".")
        if not equals or not dot:
            raise ConfigError(f"--set {word!r} must be NAME.WHAT=VALUE")
        name = next((one for one in names if key_of(one) == key_of(given)), None)
        if name is None:
            raise ConfigError(
                f"--set {word!r}: nobody there is called {given!r}; there were: {', '.join(names) or 'none'}"
            )
        what = what.replace("-", "_")
        if what not in SETTINGS:
            raise ConfigError(f"--set {word!r}: {what!r} is unknown; known: {', '.join(SETTINGS)}")
        try:
            changes.setdefault(name, {})[what] = _value(what, value)
        except (CommandError, ConfigError) as error:
            raise ConfigError(f"--set {word!r}: {str(error).removeprefix('--prompt-file ')}") from error
    return changes


def _value(what: str, value: str) -> Any:
    if what == "persona":
        return prompt_text(value) if value.endswith((".txt", ".md")) or Path(value).is_file() else value
    found: Any = like(what, value, SETTINGS[what])
    if what == "max_tokens" and found < 1:
        raise ConfigError(f"max_tokens={found} must be 1 or more")
    return found


def _kept(
    agents: Mapping[str, tuple[str, Mapping[str, Any]]], changes: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What the room tells its participants when they come: their personalities, and what was changed."""
    kept = {name: {"persona": told["persona"]} for name, (_, told) in agents.items() if told.get("persona")}
    return {name: {**kept.get(name, {}), **changes.get(name, {})} for name in {**kept, **changes}}


def _new_room(wanted: str | None, origin: str, rooms: Sequence[str]) -> str:
    if wanted is not None:
        if room_called(wanted) in rooms:
            raise ConfigError(f"--room {wanted!r} is there already; there are: {', '.join(rooms)}")
        return wanted
    if origin not in rooms:
        return origin
    stem = re.sub(r"-\d+$", "", origin)[:60]
    return next(room for number in range(2, len(rooms) + 3) if (room := f"{stem}-{number}") not in rooms)


def _commands(
    folder: Path,
    room: str,
    agents: Mapping[str, tuple[str, Mapping[str, Any]]],
    changes: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    """What to start, a line for each program."""
    yield shlex.join(["palaver", "server", "--data-dir", str(folder)])
    for name, (role, told) in agents.items():
        speaks = {**told, **changes.get(name, {})}
        model = str(speaks.get("model") or "MODEL")
        if told.get("backend") == "scripted" and told.get("model") != model and not Path(model).is_file():
            del speaks["backend"]  # a model in the place of a script
        words = ["palaver", "user-sim" if role == "user_sim" else "client", "--name", name, "--room", room]
        words += ["--model", model]
        for what, flag in _FLAGS.items():
            if speaks.get(what) is not None:
                words += [flag, str(speaks[what])]
        note = "" if speaks.get("persona") else "  # its personality is not in the log: add --prompt-file"
        yield shlex.join(words) + note
    yield shlex.join(["palaver", "moderator", "--room", room])
