"""From a party file to its processes: what is run where, with which arguments and environment. Pure."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from palaver.config.loading import Document, KeyPath, dotted_path
from palaver.config.masking import is_secret, tells_secret
from palaver.core.errors import ConfigError, PalaverError, ProtocolError
from palaver.core.message import Role, key_of
from palaver.core.names import tidy_name
from palaver.hub.auth import is_loopback
from palaver.participants.link import addresses
from palaver.party.doors import Door
from palaver.party.process import HUB, Plan, Process, Seat
from palaver.party.schema import Entry, Member, PartyFile

_TOKEN: Final = "PALAVER_TOKEN"
_FOR_THE_HUB: Final = ("PALAVER_MODERATOR_TOKEN", "PALAVER_SECRET")
"""What models must not have: it opens more than they need."""
_ROLES: Final[Mapping[str, Role]] = {"client": "model", "user-sim": "user_sim", "moderator": "moderator"}
_TERMINALS: Final = re.compile(r"TERM(_\w+)?|TMUX(_PANE)?|STY|WINDOWID|COLUMNS|LINES|SHLVL|PWD|OLDPWD|_")
"""What belongs to the terminal in which `up` was called."""
_INSTEAD: Final[Mapping[str, str]] = {
    "api_base": "leave it out, say backend: openai and set OPENAI_BASE_URL, here or under env",
    "log": "leave it out and set PALAVER_LOG, here or under env",
    "proxy": "leave it out and set PALAVER_PROXY, here or under env",
    "server": "give it without, and set PALAVER_TOKEN",
}
"""How to give a URL that holds a secret."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACEHOLDER: Final = re.compile(r"\$\$\{|\$\{[^}]*\}")


Sign = Callable[[Role, Sequence[Seat]], str]
"""Makes a token for who sits in these seats."""


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
    sign: Sign | None = None,
) -> Plan:
    """The processes of `party`. `folder` is where relative paths begin, `free_port` what `port: 0` becomes, `names_in`
    tells whose seats a file of `personas` has, `sign` makes a token for each process that joins the hub.

    Raises `ConfigError` with file, line and key of all that cannot be, a line each.
    """
    planning = _Planning(party, document, doors, environ, folder, python, free_port, names_in, sign)
    processes = tuple(planning.processes())
    planning.refuse_same_names(processes)
    if planning.errors:
        raise ConfigError("\n".join(planning.errors))
    return Plan(
        name=party.name,
        url=planning.url,
        room=party.room,
        tls_ca=planning.tls_ca,
        ssh_options=tuple(party.ssh_options),
        processes=processes,
    )


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
        sign: Sign | None,
    ) -> None:
        self._names_in, self._sign = names_in, sign
        self.errors: list[str] = []
        self._party, self._document, self._doors = party, document, doors
        self._environ, self._folder, self._python = environ, folder, python
        flags = party.server.flags
        self._listens = str(flags.get("host", doors["server"].default("host")))
        self._port = flags.get("port", doors["server"].default("port")) or free_port
        scheme = "wss" if flags.get("tls_cert") else "ws"
        self.url = self._hub_elsewhere() or f"{scheme}://{_reachable(self._listens)}:{self._port}"
        joining = [entry for entry in (*party.clients, *party.user_sims, party.moderator) if entry is not None]
        self.tls_ca = next((str(entry.flags["tls_ca"]) for entry in joining if "tls_ca" in entry.flags), "")
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
            tunnel = self._tunnel(member, path)
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
        told = self._refuse_secrets(path)
        self._refuse_urls({key: value for key, value in flags.items() if (*path, key) not in told}, path)
        self._refuse_address(flags, path)
        own = type(entry).model_fields
        host = _host(entry)
        folder = entry.dir or ("" if host else self._folder)
        seats = tuple(self._seats(name, flags, folder, host, path)) if door != "server" else ()
        if isinstance(flags.get("personas"), str):  # its file has all seats, the name is the process's alone
            flags = {key: value for key, value in flags.items() if key != "name"}
        words = self._doors[door].argv(flags, own=own, wrong=lambda key, text: self._wrong((*path, key), text))
        python = entry.python or ("python3" if host else self._python)
        return Process(
            name=self._tidy(name, path) if door != "server" else name,
            slug=self._slug(name),
            door=door,
            argv=(python, "-m", "palaver", door, *words),
            env=self._env(entry, door, seats, remote=bool(host)),
            shown=self._shown(entry, door, seats, path),
            folder=folder,
            host=host,
            tunnel=tunnel,
            seats=seats,
            console=door == "moderator" and not flags.get("script"),
        )

    # --- where the hub is ---------------------------------------------------------------------------------------------

    def _hub_elsewhere(self) -> str:
        """The URL of a hub that runs already, and its port; empty where there is none."""
        if self._party.server.url is None:
            return ""
        try:
            (url,) = addresses(self._party.server.url)
        except ConfigError as error:
            self._wrong(("server", "url"), str(error).removeprefix("--server "))
            return ""
        except ValueError:
            self._wrong(("server", "url"), "is one hub; members take several with a `server` of their own")
            return ""
        self._port = urlsplit(url).port or (443 if url.startswith("wss:") else 80)
        return url

    def _tunnel(self, member: Member, path: KeyPath) -> tuple[int, int] | None:
        """Each of a host's tunnels has a port of its own there, so that one may break without the others."""
        if not member.tunnel:
            return None
        if not member.host:
            self._wrong((*path, "tunnel"), "leads to another machine; say which with host")
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

    def _env(self, entry: Entry, door: str, seats: Sequence[Seat], *, remote: bool) -> dict[str, str]:
        """Another machine gets a token and what the file sets for it; here also what `up` was called with."""
        here = {name: value for name, value in self._environ.items() if _is_handed_on(name)}
        if door == "server":
            return {**here, "PYTHONUNBUFFERED": "1", **entry.env}
        token = self._token(door, seats) if _TOKEN not in entry.env else None
        found = {} if remote else {**here, "PYTHONUNBUFFERED": "1"}
        for name in (*_FOR_THE_HUB, *([_TOKEN] if remote else [])):
            found.pop(name, None)
        return {**found, **({_TOKEN: token} if token else {}), **entry.env}

    def _token(self, door: str, seats: Sequence[Seat]) -> str | None:
        if self._sign is not None:
            return self._sign(_ROLES[door], seats)
        for_moderators = self._environ.get(_FOR_THE_HUB[0]) if door == "moderator" else None
        return for_moderators or self._environ.get(_TOKEN)

    def _shown(self, entry: Entry, door: str, seats: Sequence[Seat], path: KeyPath) -> dict[str, str]:
        found = {}
        if door != "server" and self._sign is not None:
            found[_TOKEN] = (
                f'"$({shlex.join([self._python, "-m", "palaver", "token", *_asking(_ROLES[door], seats)])})"'
            )
        elif door == "moderator" and self._environ.get(_FOR_THE_HUB[0]):
            found[_TOKEN] = f'"${_FOR_THE_HUB[0]}"'
        elif _host(entry) and self._environ.get(_TOKEN):
            found[_TOKEN] = f'"${_TOKEN}"'
        for name, value in entry.env.items():
            template = self._document.templates.get((*path, "env", name))
            if template is not None:
                found[name] = _in_shell(template)
            else:
                found[name] = f'"${name}"' if is_secret((name,)) else shlex.quote(value)
        return found

    def _refuse_secrets(self, path: KeyPath) -> set[KeyPath]:
        """A flag that is filled in from a secret's variable would stand on a command line; says which were."""
        refused = set()
        for at, template in self._document.templates.items():
            if at[: len(path)] != path or at[len(path) : len(path) + 1] == ("env",):
                continue
            for name in _VARIABLE.findall(" ".join(_PLACEHOLDER.findall(template))):
                if is_secret((name,)):
                    told = f"${{{name}}} would stand on a command line, which others on the machine can read"
                    self._wrong(at, f"{told}; give it under env: where the program looks for it")
                    refused.add(at)
        return refused

    def _refuse_urls(self, flags: Mapping[str, Any], path: KeyPath) -> None:
        """Nor may a URL with a password or a key in it."""
        for key, value in flags.items():
            if isinstance(value, str) and tells_secret(value):
                told = "holds a password or a key, and others on the machine can read a command line"
                self._wrong((*path, key), f"{told}; {_INSTEAD.get(key, 'give it without')}")

    def _refuse_address(self, flags: Mapping[str, Any], path: KeyPath) -> None:
        """A hub's URL that cannot be one: told before anything is started."""
        try:
            if "server" in flags:
                addresses(str(flags["server"]))
        except ConfigError as error:
            self._wrong((*path, "server"), str(error).removeprefix("--server "))

    # --- names --------------------------------------------------------------------------------------------------------

    def refuse_same_names(self, processes: Sequence[Process]) -> None:
        """Processes are told apart by their names, members of a room too."""
        seen: set[str] = set()
        for name in [name for each in processes for name in dict.fromkeys([each.name, *(s.name for s in each.seats)])]:
            if key_of(name) in seen:
                self.errors.append(f"{self._document.name}: name {name!r} is given twice; each needs a name of its own")
            seen.add(key_of(name))

    def _seats(self, name: str, flags: Mapping[str, Any], folder: str, host: str, path: KeyPath) -> Iterator[Seat]:
        personas = flags.get("personas", flags.get("persona"))
        if isinstance(personas, str) and "personas" in flags:
            names = [] if host else self._listed(folder, personas, path)
        else:
            more = personas if isinstance(personas, list | dict) else []
            names = [name, *(str(each).partition(":")[0] for each in more)]
        for each in names:
            try:
                yield Seat(str(flags["room"]), tidy_name(each))
            except ProtocolError:
                continue  # told at its place

    def _listed(self, folder: str, file: str, path: KeyPath) -> Sequence[str]:
        try:
            return self._names_in(folder, file)
        except PalaverError as error:
            self._wrong((*path, "personas"), str(error).removeprefix("--personas "))
            return ()

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


def _host(entry: Entry) -> str:
    """The other machine that it runs on; a hub's `host` is where it listens."""
    return (entry.host or "") if isinstance(entry, Member) else ""


def _asking(role: Role, seats: Sequence[Seat]) -> list[str]:
    """What `palaver token` is asked for, as `sign` is."""
    rooms = [word for room in dict.fromkeys(seat.room for seat in seats) for word in ("--room", room)]
    return ["--role", role, *(["--name", seats[0].name] if len(seats) == 1 else []), *rooms]


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
