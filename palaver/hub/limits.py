"""Counting what addresses and members ask of a hub, and refusing what is beyond its limits."""

import ipaddress
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from palaver.core.limits import Limits
from palaver.hub.auth import is_loopback

MOST_ADDRESSES: Final = 10_000
"""Addresses whose joins are remembered."""
TOLD: Final = 32
"""Connections above an address' limit that are told so; further ones are reset without a word."""
BURST: Final = 2.0
"""Seconds' worth of frames that a member may send at once."""
PIECE: Final = 16 * 1024
"""A frame counts once, and once more for each piece of so many bytes."""


class Bucket:
    """So many a second, and `burst` at once: a token bucket that also knows how many it has refused of late."""

    __slots__ = ("_allowance", "_at", "_burst", "_rate", "refused")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = self._allowance = burst
        self._at = now
        self.refused = 0.0
        """Refusals that time has not yet forgiven."""

    def take(self, now: float, cost: float = 1.0) -> float:
        """0 where there was room, else the seconds to wait: those who wait as told are not refused again."""
        passed = (now - self._at) * self._rate
        self._at = now
        allowance = self._allowance + passed
        if allowance > self._burst:
            allowance = self._burst
        if self.refused:
            self.refused = max(0.0, self.refused - passed)
        if allowance > cost - 1e-9:  # whoever waits as told is not refused for a rounding
            self._allowance = allowance - cost
            return 0.0
        self._allowance = allowance
        wait = (self.refused + cost - allowance) / self._rate
        self.refused += cost
        return wait


class Gate:
    """Who stands before the door: connections and joins by address, and how many have not joined in all."""

    def __init__(
        self,
        limits: Limits,
        *,
        is_exempt: Callable[[str], bool] = is_loopback,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.unjoined = 0
        self._is_exempt = is_exempt
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._joins: dict[str, Bucket] = {}

    def arrive(self, address: str) -> str | None:
        """Count a connection; why it is refused, empty where it is not, `None` where not even that is to be told."""
        self.unjoined += 1
        place = _place(address)
        self._open[place] += 1
        limit = self.limits.connections
        beyond = self._open[place] - limit if limit and not self._is_exempt(address) else 0
        if beyond > TOLD or 0 < self.limits.unjoined < self.unjoined:
            return None
        return (
            f"more than {limit} connections from your address; close some, or raise --max-connections"
            if beyond > 0
            else ""
        )

    def joined(self) -> None:
        """One of those that arrived has joined."""
        self.unjoined -= 1

    def depart(self, address: str, *, had_joined: bool) -> None:
        """A connection has ended."""
        place = _place(address)
        self._open[place] -= 1
        if self._open[place] <= 0:
            del self._open[place]
        if not had_joined:
            self.unjoined -= 1

    def wait_to_join(self, address: str) -> float:
        """Count an attempt to join; seconds until one may be made, 0 where this one may."""
        joins = self.limits.joins
        if not joins or self._is_exempt(address):
            return 0.0
        place, now = _place(address), self._clock()
        if place not in self._joins and len(self._joins) >= MOST_ADDRESSES:
            del self._joins[next(iter(self._joins))]
        bucket = self._joins.setdefault(place, Bucket(joins / 60, joins, now))
        return bucket.take(now)


@lru_cache(maxsize=4096)
def _place(address: str) -> str:
    """What counts as one address: of IPv6 the network of 64 bits that one house has, else the address itself."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return address
    return str(known.ipv4_mapped or ipaddress.IPv6Network((int(known) >> 64 << 64, 64)))
