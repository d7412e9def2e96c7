"""Who may call, and how often: the hub's tokens as bearer tokens, and a rate for each client."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, Literal

from palaver.api.errors import TooMany, Unauthorized
from palaver.core.errors import AccessDenied
from palaver.core.protocol import Join
from palaver.hub.auth import SharedSecret, is_loopback

MOST_CLIENTS: Final = 10_000
"""Clients whose requests are remembered; the one heard of longest ago is forgotten first."""

Caller = Literal["observer", "moderator"]


class Access:
    """The hub's own rule, asked for a caller of the API. A reader is admitted as an observer would be.

    With `local_only` other machines are refused: that is for a server without a token.
    """

    def __init__(self, auth: SharedSecret, *, local_only: bool = False) -> None:
        self._auth = auth
        self._local_only = local_only

    def admit_from(self, client: str, called: str) -> None:
        """Raises `Unauthorized` for an address that is not served, or one that called us by a foreign name.

        A page can give its own name this machine's address and so pass as local (DNS rebinding).
        """
        if self._local_only and not (is_loopback(client) and is_loopback(called)):
            raise Unauthorized("this server has no token and serves its own machine only: set PALAVER_TOKEN for it")

    def admit(self, authorization: str | None, role: Caller) -> None:
        """Raises `Unauthorized` unless the header `Authorization: Bearer TOKEN` opens that role."""
        scheme, _, token = (authorization or "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
        try:
            self._auth.admit(Join(name="api", role=role, token=given or None))
        except AccessDenied as error:
            what = "the token is wrong" if given else "a token is missing"
            who = " for a moderator" if role == "moderator" else ""
            raise Unauthorized(f"{what}{who}: send the header 'Authorization: Bearer TOKEN'") from error

    def role_of(self, authorization: str | None) -> Caller:
        """The most that this caller may be; raises `Unauthorized`."""
        try:
            self.admit(authorization, "moderator")
        except Unauthorized:
            self.admit(authorization, "observer")
            return "observer"
        return "moderator"


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
