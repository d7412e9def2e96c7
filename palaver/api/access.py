"""Who may call, and how often: the hub's tokens as bearer tokens, and a rate for each client."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Final, Literal

from palaver.api.errors import TooMany, Unauthorized
from palaver.core.message import AGENTS
from palaver.hub.auth import Auth, Denied, Rights, Why, is_loopback

MOST_CLIENTS: Final = 10_000
"""Clients whose requests are remembered; the one heard of longest ago is forgotten first."""

Caller = Literal["observer", "moderator"]
Deed = Literal["read", "begin", "steer"]


class Access:
    """The hub's own rule, asked for a caller of the API: any token reads, one that may seat agents begins, a
    moderator's steers; each in the rooms that it opens, and a conversation is a room.

    With `local_only` other machines are refused: that is for a server without a token. `denied` gets why and whence.
    """

    def __init__(
        self,
        auth: Auth,
        *,
        local_only: bool = False,
        denied: Callable[[Why, str], None] = lambda why, client: None,
    ) -> None:
        self._auth = auth
        self._local_only = local_only
        self._denied = denied

    def admit_from(self, client: str, called: str) -> None:
        """Raises `Unauthorized` for an address that is not served, or one that called us by a foreign name.

        A page can give its own name this machine's address and so pass as local (DNS rebinding).
        """
        if self._local_only and not (is_loopback(client) and is_loopback(called)):
            raise Unauthorized("this server has no token and serves its own machine only: set PALAVER_TOKEN for it")

    def admit(self, authorization: str | None, deed: Deed, room: str | None = None, client: str = "") -> Rights:
        """What the header `Authorization: Bearer TOKEN` opens; raises `Unauthorized` unless that is enough.

        `room` is the conversation that it is about, `None` for all of them.
        """
        try:
            return self.rights_for(authorization, deed, room)
        except Denied as denied:
            self._denied(denied.why, client)
            raise Unauthorized(f"{_told(denied)}: send the header 'Authorization: Bearer TOKEN'") from denied

    def rights_for(self, authorization: str | None, deed: Deed, room: str | None) -> Rights:
        """As `admit`, telling nobody; raises `Denied`."""
        scheme, _, token = (authorization or "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
        rights = self._auth.rights_of(given or None)
        if deed not in deeds_of(rights):
            raise Denied("role", f"the token is wrong{_FOR[deed]}")
        if room is not None:
            rights.check_room(room)
        elif rights.rooms is not None:
            raise Denied("room", "this token is for some rooms, and this is about all of them: get one for all")
        return rights


_FOR: Final[Mapping[Deed, str]] = {"read": "", "begin": " for beginning a conversation", "steer": " for a moderator"}


def _told(denied: Denied) -> str:
    """Why, without the advice that is for clients of the hub."""
    shared = {"missing": "a token is missing", "wrong": "the token is wrong"}
    return shared.get(denied.why, str(denied)) if "PALAVER_TOKEN" in str(denied) else str(denied)


def deeds_of(rights: Rights) -> frozenset[Deed]:
    """What these rights let a caller do."""
    if "moderator" in rights.roles:
        return frozenset({"read", "begin", "steer"})
    return frozenset({"read", "begin"} if rights.roles >= AGENTS else {"read"})


def caller_of(rights: Rights) -> Caller:
    """As whom they read."""
    return "moderator" if "moderator" in rights.roles else "observer"


class RateLimit:
    """At most `count` requests of one client in any `seconds`: a sliding window, exact."""

    def __init__(self, count: int, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = count
        self.seconds = seconds
        self._clock = clock
        self._clients: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Count a request; raises `TooMany`, which is not counted."""
        now = self._clock()
        times = self._clients.setdefault(client, deque())
        self._clients.move_to_end(client)
        if len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)
        while times and times[0] <= now - self.seconds:
            times.popleft()
        if len(times) >= self.count:
            wait = times[0] + self.seconds - now
            raise TooMany(f"more than {self.count} requests in {self.seconds:g} s; come back in {wait:.0f} s", wait)
        times.append(now)
