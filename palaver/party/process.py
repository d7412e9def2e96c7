"""The processes of a party, as they are run and remembered."""

from typing import Final, NamedTuple

import msgspec

HUB: Final = "hub"
"""The hub's name among the processes; nobody in a room may bear it."""


class Seat(NamedTuple):
    """Somebody who is expected in a room."""

    room: str
    name: str


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a party."""

    name: str
    slug: str
    """Its name among files and sessions."""
    door: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    """All of its environment that is handed to it, secrets included: never in an argument, never kept with the rest."""
    shown: dict[str, str] = {}
    """What of it the file sets, as shell words that name the secrets' variables instead of the secrets."""
    folder: str = ""
    """Empty: where it is logged in, on another machine."""
    host: str = ""
    tunnel: tuple[int, int] | None = None
    """Port over there, port of the hub here."""
    seats: tuple[Seat, ...] = ()
    console: bool = False
    """It needs a terminal."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A party as it is to be run; the hub first, unless it runs elsewhere."""

    name: str
    url: str
    room: str
    tls_ca: str = ""
    """The certificate under which a hub with TLS is believed; empty: the system's."""
    ssh_options: tuple[str, ...] = ()
    processes: tuple[Process, ...]
