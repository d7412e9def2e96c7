"""From a party file to its processes: what is run where, with which arguments and environment. Pure."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from palaver.config.loading import Document, KeyPath, dotted_path
from palaver.config.masking import is_secret
from palaver.core.errors import ConfigError, ProtocolError
from palaver.core.message import key_of
from palaver.core.protocol import tidy_name
from palaver.hub.auth import is_loopback
from palaver.party.doors import Door
from palaver.party.schema import Entry, Member, PartyFile

HUB: Final = "hub"
"""The hub's name among the processes; nobody in a room may bear it."""
_TOKEN: Final = "PALAVER_TOKEN"
_MODERATORS: Final = "PALAVER_MODERATOR_TOKEN"
_TERMINALS: Final = re.compile(r"TERM(_\w+)?|TMUX(_PANE)?|STY|WINDOWID|COLUMNS|LINES|SHLVL|PWD|OLDPWD|_")
"""What belongs to the terminal in which `up` was called."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACEHOLDER: Final = re.compile(r"\$\$\{|\$\{[^}]*\}")


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
    ssh_options: tuple[str, ...] = ()
    processes: tuple[Process, ...]


def plan(
    party: PartyFile,
    document: Document,
    doors: Mapping[str, Door],
    *,
    environ: Mapping[str, str],
    folder: str,
    python: str,
    free_port: int,
    names_in: Callable[[str, str], Sequence[str]] = lambda folder, file: (),
) -> Plan:
    """The processes of `party`. `folder` is where relative paths begin, `free_port` what `port: 0` becomes, `names_in`
    tells whose seats a file of `personas` has.

    Raises `ConfigError` with file, line and key of all that cannot be, a line each.
    """
    planning = _Planning(party, document, doors, environ, folder, python, free_port, names_in)
    processes = tuple(planning.processes())
    planning.refuse_same_names(processes)
    if planning.errors:
        raise ConfigError("\n".join(planning.errors))
    options = tuple(party.ssh_options)
    return Plan(name=party.name, url=planning.url, room=party.room, ssh_options=options, processes=processes)


class _Planning:
    def __init__(
        self,
        party: PartyFile,
        document: Document,
        doors: Mapping[str, Door],
        environ: Mapping[str, str],
        folder: str,
        python: str,
        free_port: int,
        names_in: Callable[[str, str], Sequence[str]],
    ) -> None:
        self._names_in = names_in
        self.errors: list[str] = []
        self._party, self._document, self._doors = party, document, doors
        self._environ, self._folder, self._python = environ, folder, python
        flags = party.server.flags
        self._listens = str(flags.get("host", doors["server"].default("host")))
        self._port = flags.get("port", doors["server"].default("port")) or free_port
        scheme = "wss" if flags.get("tls_cert") else "ws"
        self.url = party.server.url or f"{scheme}://{_reachable(self._listens)}:{self._port}"
        self._tunnels: dict[str, int] = {}
        self._slugs: set[str] = set()

    def processes(self) -> Iterator[Process]:
        """Hub, clients, simulated users, moderator: in this order."""
        party = self._party
        if party.server.url is None:
            flags = {**party.server.flags, "port": self._port} if "port" in party.server.flags else party.server.flags
            yield self._process(HUB, "server", party.server, ("server",), flags)
        elif party.server.flags:
            key = next(iter(party.server.flags))
            self._wrong(("server", key), "is a flag of a hub, and with server.url none is started")
        for section, door in (("clients", "client"), ("user_sims", "user-sim")):
            for number, member in enumerate(getattr(party, section)):
                yield from self._replicas(member, door, (section, number))
        if party.moderator is not None:
            flags = self._in_room(party.moderator.flags, self.url)
            name = str(flags.get("name", self._doors["moderator"].default("name")))
            yield self._process(name, "moderator", party.moderator, ("moderator",), flags)

    def _replicas(self, member: Member, door: str, path: KeyPath) -> Iterator[Process]:
        for number in range(1, (member.replicas or 1) + 1):
            flags = {"name": member.name, **member.flags}
            if member.replicas is not None:
                flags = {key: _numbered(key, value, number) for key, value in flags.items()}
            tunnel = self._tunnel(member)
            flags = self._in_room(flags, self._server_for(member, tunnel, path))
            yield self._process(str(flags["name"]), door, member, path, flags, tunnel)

    def _in_room(self, flags: Mapping[str, Any], server: str) -> dict[str, Any]:
        return {**flags, "server": flags.get("server", server), "room": flags.get("room", self._party.room)}

    def _process(
        self,
        name: str,
        door: str,
        entry: Entry,
        path: KeyPath,
        flags: Mapping[str, Any],
        tunnel: tuple[int, int] | None = None,
    ) -> Process:
        self._refuse_secrets(path)
        own = type(entry).model_fields
        host = getattr(entry, "host", None) or ""
        folder = entry.dir or ("" if host else self._folder)
        seats = tuple(self._seats(name, flags, folder, host)) if door != "server" else ()
        if isinstance(flags.get("personas"), str):  # its file has all seats, the name is the process's alone
            flags = {key: value for key, value in flags.items() if key != "name"}
        words = self._doors[door].argv(flags, own=own, wrong=lambda key, text: self._wrong((*path, key), text))
        python = entry.python or ("python3" if host else self._python)
        return Process(
            name=self._tidy(name, path) if door != "server" else name,
            slug=self._slug(name),
            door=door,
            argv=(python, "-m", "palaver", door, *words),
            env=self._env(entry, door, remote=bool(host)),
            shown=self._shown(entry, door, path),
            folder=folder,
            host=host,
            tunnel=tunnel,
            seats=seats,
            console=door == "moderator" and not flags.get("script"),
        )

    # --- where the hub is ---------------------------------------------------------------------------------------------

    def _tunnel(self, member: Member) -> tuple[int, int] | None:
        """Each of a host's tunnels has a port of its own there, so that one may break without the others."""
        if not member.tunnel or not member.host:
            return None
        first = self._port if member.tunnel is True else int(member.tunnel)
        used = self._tunnels.get(member.host, 0)
        self._tunnels[member.host] = used + 1
        return first + (used if member.tunnel is True or member.replicas else 0), self._port

    def _server_for(self, member: Member, tunnel: tuple[int, int] | None, path: KeyPath) -> str:
        if tunnel is not None:
            return f"{self.url.partition('://')[0]}://127.0.0.1:{tunnel[0]}"
        if member.host and self._party.server.url is None and "server" not in member.flags:
            if is_loopback(self._listens):
                told = f"the hub listens on {self._listens}, which {member.host} cannot reach; say tunnel: true"
                self._wrong((*path, "host"), f"{told}, or set server.host and PALAVER_TOKEN")
            elif _reachable(self._listens) != self._listens:
                told = f"say under which address {member.host} reaches the hub"
                self._wrong((*path, "host"), f"{told}: server: ws://ADDRESS:{self._port}")
        return self.url

    # --- environments -------------------------------------------------------------------------------------------------

    def _env(self, entry: Entry, door: str, *, remote: bool) -> dict[str, str]:
        """Another machine gets the room's token and what the file sets for it; here also what `up` was called with."""
        here = {name: value for name, value in self._environ.items() if _is_handed_on(name)}
        tokens = {_TOKEN: here[_TOKEN]} if _TOKEN in here else {}
        found = tokens if remote else {**here, "PYTHONUNBUFFERED": "1"}
        if door != "server":
            for_moderators = found.pop(_MODERATORS, None)
            if door == "moderator" and for_moderators:
                found[_TOKEN] = for_moderators
        return {**found, **entry.env}

    def _shown(self, entry: Entry, door: str, path: KeyPath) -> dict[str, str]:
        found = {}
        if door == "moderator" and self._environ.get(_MODERATORS):
            found[_TOKEN] = f'"${_MODERATORS}"'
        elif getattr(entry, "host", None) and self._environ.get(_TOKEN):
            found[_TOKEN] = f'"${_TOKEN}"'
        for name, value in entry.env.items():
            template = self._document.templates.get((*path, "env", name))
            if template is not None:
                found[name] = _in_shell(template)
            else:
                found[name] = f'"${name}"' if is_secret((name,)) else shlex.quote(value)
        return found

    def _refuse_secrets(self, path: KeyPath) -> None:
        """A flag that is filled in from a secret's variable would stand on a command line."""
        for at, template in self._document.templates.items():
            if at[: len(path)] != path or at[len(path) : len(path) + 1] == ("env",):
                continue
            for name in _VARIABLE.findall(" ".join(_PLACEHOLDER.findall(template))):
                if is_secret((name,)):
                    told = f"${{{name}}} would stand on a command line, which others on the machine can read"
                    self._wrong(at, f"{told}; give it under env: where the program looks for it")

    # --- names --------------------------------------------------------------------------------------------------------

    def refuse_same_names(self, processes: Sequence[Process]) -> None:
        """Processes are told apart by their names, members of a room too."""
        seen: set[str] = set()
        for name in [name for each in processes for name in dict.fromkeys([each.name, *(s.name for s in each.seats)])]:
            if key_of(name) in seen:
                self.errors.append(f"{self._document.name}: name {name!r} is given twice; each needs a name of its own")
            seen.add(key_of(name))

    def _seats(self, name: str, flags: Mapping[str, Any], folder: str, host: str) -> Iterator[Seat]:
        personas = flags.get("personas", flags.get("persona"))
        if isinstance(personas, str) and "personas" in flags:
            names = [] if host else list(self._names_in(folder, personas))
        else:
            more = personas if isinstance(personas, list | dict) else []
            names = [name, *(str(each).partition(":")[0] for each in more)]
        for each in names:
            try:
                yield Seat(str(flags["room"]), tidy_name(each))
            except ProtocolError:
                continue  # told at its place

    def _tidy(self, name: str, path: KeyPath) -> str:
        try:
            return tidy_name(name)
        except ProtocolError as error:
            self._wrong((*path, "name"), str(error))
            return name

    def _slug(self, name: str) -> str:
        slug = plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "process"
        number = 1
        while slug in self._slugs:
            number += 1
            slug = f"{plain}-{number}"
        self._slugs.add(slug)
        return slug

    def _wrong(self, path: KeyPath, text: str) -> None:
        line = f"{self._document.origin(path)}: {dotted_path(path)}: {text}"
        if line not in self.errors:
            self.errors.append(line)


def _reachable(host: str) -> str:
    """How a hub that listens on `host` is called from its own machine."""
    called = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{called}]" if ":" in called else called


def _numbered(key: str, value: Any, number: int) -> Any:
    """A replica's own: a name with its number, a seed of its own, `{n}` filled in elsewhere."""
    match key, value:
        case "seed", int():
            return value + number - 1
        case (("persona" | "personas"), dict()):
            return {f"{name} {number}": file for name, file in value.items()}
        case (("persona" | "personas"), list()):
            return [f"{name} {number}:{file}" for name, _, file in (str(each).partition(":") for each in value)]
        case "name", _ if "{n}" not in str(value):
            return f"{value} {number}"
        case _, str():
            return value.replace("{n}", str(number))
    return value


def _is_handed_on(name: str) -> bool:
    return _VARIABLE.fullmatch(name) is not None and _TERMINALS.fullmatch(name) is None


def _in_shell(template: str) -> str:
    """A text with placeholders as a shell word that has them filled in: both write `${NAME:-default}`."""
    parts, end = [], 0
    for found in _PLACEHOLDER.finditer(template):
        name, colon, default = found[0].removesuffix("}").partition(":-")
        filled = r"\${" if found[0] == "$${" else f"{name}{colon}{_escaped(default)}}}"
        parts += [_escaped(template[end : found.start()]), filled]
        end = found.end()
    return f'"{"".join(parts)}{_escaped(template[end:])}"'


def _escaped(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)
