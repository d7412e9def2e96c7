"""Who may join, and as what: shared secrets and signed tokens; and which addresses are this machine's own."""

import hmac
import ipaddress
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, Protocol, get_args

from palaver.core.errors import AccessDenied
from palaver.core.message import Role, key_of
from palaver.core.protocol import Join

ROLES: Final[frozenset[Role]] = frozenset(get_args(Role))

Why = Literal["missing", "wrong", "expired", "early", "role", "name", "room"]
"""Why somebody was not let in, for counting."""

_WAY_IN: Final = "pass --token or set PALAVER_TOKEN"


class Denied(AccessDenied):
    """Somebody who is not let in; the text never holds the token."""

    def __init__(self, why: Why, text: str) -> None:
        super().__init__(text)
        self.why: Why = why


@dataclass(frozen=True, slots=True)
class Rights:
    """What a token opens. `None` is any name, any room."""

    roles: frozenset[Role] = ROLES
    name: str | None = None
    rooms: frozenset[str] | None = None
    expires: float = math.inf
    """Seconds since the epoch."""
    ident: str = ""
    """Of a signed token, for logs."""

    def check(self, join: Join) -> None:
        """Raises `Denied` unless these rights open that seat."""
        if join.role not in self.roles:
            raise Denied("role", f"this token is for {_listed(self.roles)}, not for {join.role}: get one for that role")
        if self.name is not None and key_of(join.name) != key_of(self.name):
            raise Denied("name", f"this token is for {self.name!r}, not for {join.name!r}: join under that name")
        self.check_room(join.room)

    def check_room(self, room: str) -> None:
        """Raises `Denied` for a room that they do not open."""
        if self.rooms is not None and room not in self.rooms:
            raise Denied(
                "room", f"this token is for {_listed(self.rooms)}, not for room {room!r}: get one for that room"
            )


def _listed(words: frozenset[Role] | frozenset[str]) -> str:
    return " or ".join(sorted(words))


class Auth(Protocol):
    """Decides who may join."""

    @property
    def asks(self) -> bool:
        """Whether anybody is asked for a token at all."""
        ...

    def rights_of(self, token: str | None) -> Rights:
        """What a token opens, or none where none was given; raises `Denied`."""
        ...


class SharedSecret:
    """One token for everybody, and where `moderator` is given another for moderators. `None`: no token is asked.

    `own` is what this very process shows to its hub; nobody else knows it. All are compared in constant time.
    """

    def __init__(self, token: str | None = None, *, moderator: str | None = None, own: str | None = None) -> None:
        self._token = token
        self._moderator = moderator
        self._own = own

    @property
    def asks(self) -> bool:
        """Whether anybody is asked for a token at all."""
        return self._token is not None or self._moderator is not None

    @property
    def _for_everybody(self) -> Rights:
        return Rights() if self._moderator is None else Rights(ROLES - {"moderator"})

    def known(self, token: str | None) -> Rights | None:
        """The rights of one of the secrets, `None` for anything else."""
        given = (token or "").encode(errors="surrogatepass")
        found = [
            secret is not None and hmac.compare_digest(given, secret.encode(errors="surrogatepass"))
            for secret in (self._own, self._moderator, self._token)
        ]
        if found[0] or found[1]:
            return Rights()
        return self._for_everybody if found[2] else None

    def rights_of(self, token: str | None) -> Rights:
        """What a token opens; raises `Denied`."""
        rights = self.known(token)
        if rights is None and self._token is None:
            return self._for_everybody
        if rights is None:
            raise Denied("wrong", f"token is wrong: {_WAY_IN}") if token else missing()
        return rights


def missing() -> Denied:
    """What somebody is told who shows no token where one is asked."""
    return Denied("missing", f"token is missing: {_WAY_IN}")


@lru_cache(maxsize=1024)  # 10 us, twice for each connection
def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own, also one mapped into IPv6."""
    if host == "localhost" or host.endswith(".localhost"):  # nobody asks a name server for these (RFC 6761)
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return bool((mapped or address).is_loopback)
