"""What `palaver up` and its sisters share: where parties are noted, which one is meant, how one is put together."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from palaver.core.errors import ConfigError, PalaverError
from palaver.core.message import Role
from palaver.party.party import Party, Stage
from palaver.party.process import Seat
from palaver.party.procs import Procs
from palaver.party.state import Folder, Record, parties
from palaver.party.tmux import Tmux

if TYPE_CHECKING:
    from palaver.party.plan import Sign

TOKENS_LAST: Final = 7 * 86400.0
"""Seconds: a hub ends the connection when a token does, and a party that runs for a week was forgotten."""


def home() -> Path:
    """Where parties that are up are noted, for every shell of this user. Raises `ConfigError`."""
    base = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "state") / "palaver"
    except RuntimeError as error:
        raise ConfigError("this user has no home: set XDG_STATE_HOME to a folder for notes on parties") from error


def logs(party: str) -> str:
    """The folder for the output of a party's processes."""
    return str(Path("logs").absolute() / party)


def signer() -> "Sign | None":
    """Makes tokens where `PALAVER_SECRET` is set: for one role, and for one name and room where there is only one."""
    secret = os.environ.get("PALAVER_SECRET")
    if not secret:
        return None
    from palaver.hub.tokens import SignedTokens

    tokens = SignedTokens(secret)

    def sign(role: Role, seats: Sequence[Seat]) -> str:
        rooms = list(dict.fromkeys(seat.room for seat in seats))
        return tokens.issue(role, name=seats[0].name if len(seats) == 1 else None, rooms=rooms, lasting=TOKENS_LAST)

    return sign


def watchers_token() -> str | None:
    """What lets us see who is in a room."""
    sign = signer()
    return sign("observer", ()) if sign is not None else os.environ.get("PALAVER_TOKEN") or None


def add_party_flag(flags: argparse.ArgumentParser, *, option: bool = False) -> None:
    """Which party is meant; none needs to be named where only one is up."""
    told = "the party's name or file (None: the only one that is up)"
    if option:
        flags.add_argument("--party", metavar="PARTY", help=told)
    else:
        flags.add_argument("party", nargs="?", metavar="PARTY", help=told)


def chosen(name: str | None) -> Party:
    """The party that is meant; raises `ConfigError` where there is none, or it cannot be told which."""
    known = parties(home())
    if name is None:
        if len(known) != 1:
            told = f"name one of {', '.join(known)}" if known else "start one: palaver up party.yaml"
            raise ConfigError(f"{'several parties are' if known else 'no party is'} up; {told}")
        name = known[0]
    elif name.endswith((".yaml", ".yml")):
        name = name_in(Path(name))
    party = known_party(name)
    if party is None:
        raise ConfigError(f"party {name!r} is not up" + (f"; up: {', '.join(known)}" if known else ""))
    return party


def need_its_session(party: Party) -> None:
    """Raises `PalaverError` where the party runs in tmux and somebody has ended its session."""
    if isinstance(party.stage, Tmux) and not party.stage.exists():
        raise PalaverError(f"its tmux session is gone: palaver down {party.plan.name}, then up again")


def is_ambiguous(name: str | None) -> bool:
    """Whether one of several would have to be named."""
    return name is None and len(parties(home())) > 1


def known_party(name: str) -> Party | None:
    """The party of that name, None where it was not started or was taken down."""
    folder = Folder(home(), name)
    record = folder.record()
    return Party(folder, record, stage(record)) if record is not None else None


def stage(record: Record) -> Stage:
    """The backend that it runs on."""
    if record.backend == "tmux":
        return Tmux(record.plan.name, socket=record.socket, panes=record.panes)
    return Procs()


def name_in(path: Path) -> str:
    """The name of the party that a file describes."""
    from palaver.config import loading
    from palaver.party.schema import party_file

    return party_file(loading.read(path, os.environ), name=default_name(path)).name


def default_name(path: Path) -> str:
    """A file's own name, for a party that has none."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in path.stem).strip("-")[:40]


def is_terminal() -> bool:
    """Whether somebody sits here."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def default_backend() -> str:
    """tmux where there is one and somebody sits at a terminal."""
    return "tmux" if shutil.which("tmux") and sys.stdout.isatty() else "procs"
