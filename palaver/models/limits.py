"""So many requests and tokens a minute, exactly: how long the next request has to wait. The clock is handed in.

A sliding window and not a token bucket: a bucket that starts full and refills lets nearly twice its rate through
in the first minute. Places are given in advance, first come, first served, so nothing needs a lock.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

MINUTE = 60.0


class OverBudget(ValueError):
    """A single request that is larger than a minute's allowance: waiting would never help."""


@dataclass(slots=True)
class Place:
    """One request's place in a window: when it goes and what it takes."""

    at: float
    amount: float


class Window:
    """At most `limit` in any 60 seconds; None is no limit."""

    def __init__(self, limit: float | None) -> None:
        if limit is not None and limit <= 0:
            raise ValueError(f"a limit per minute must be positive, not {limit}")
        self.limit = limit
        self._places: deque[Place] = deque()
        self._used = 0.0
        self._last = float("-inf")

    def earliest(self, now: float, amount: float) -> float:
        """When a request of that amount may go, not before `now` and not before those already placed."""
        at = max(now, self._last)
        if self.limit is None:
            return at
        if amount > self.limit:
            raise OverBudget(f"needs {amount:.0f}, and the limit is {self.limit:.0f} a minute")
        used = self._used
        for place in self._places:
            if place.at + MINUTE > at and used + amount <= self.limit:
                break
            at = max(at, place.at + MINUTE)
            used -= place.amount
        return at

    def take(self, at: float, amount: float) -> Place:
        """Take the place found by `earliest`."""
        place = Place(at, amount)
        if self.limit is None:
            return place
        self._last = max(self._last, at)
        while self._places and self._places[0].at + MINUTE <= at:
            self._used -= self._places.popleft().amount
        self._places.append(place)
        self._used += amount
        return place

    def correct(self, place: Place, amount: float) -> None:
        """What a request really took, once it is known: the estimate is replaced, unless it has left the window."""
        if self._places and place.at >= self._places[0].at:
            self._used += amount - place.amount
        place.amount = amount


@dataclass(slots=True)
class Admission:
    """A request that may go `wait` seconds from when it asked."""

    wait: float
    tokens: Place


class RateLimit:
    """Requests and tokens a minute of one model at one endpoint, and the silence that endpoint asked for."""

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self._requests = Window(requests_per_minute)
        self._tokens = Window(tokens_per_minute)
        self._quiet_until = float("-inf")

    def admit(self, now: float, tokens: float) -> Admission:
        """Give a place to a request of about that many tokens; raises `OverBudget` where none can ever be had."""
        try:
            at = self._tokens.earliest(max(now, self._quiet_until), tokens)
        except OverBudget as error:
            raise OverBudget(f"the request {error} (tokens per minute): shorten it or raise the limit") from None
        at = self._requests.earliest(at, 1)
        self._requests.take(at, 1)
        return Admission(max(0.0, at - now), self._tokens.take(at, tokens))

    def settle(self, admission: Admission, tokens: float) -> None:
        """Replace the estimated tokens by the counted ones."""
        self._tokens.correct(admission.tokens, tokens)

    def keep_quiet(self, until: float) -> None:
        """Let no request go before `until`: the endpoint said so (Retry-After)."""
        self._quiet_until = max(self._quiet_until, until)

    def quiet_for(self, now: float) -> float:
        """Seconds of that silence left; 0.0 when a request may go."""
        return max(0.0, self._quiet_until - now)


async def admitted(
    limit: RateLimit, tokens: float, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]
) -> Admission:
    """Wait until `limit` lets a request of about that many tokens go; raises `OverBudget`."""
    admission = limit.admit(clock(), tokens)
    wait = admission.wait
    while wait > 0:
        await sleep(wait)
        wait = limit.quiet_for(clock())
    return admission


def estimate_tokens(text_length: int, messages: int, max_tokens: int) -> int:
    """About how many tokens a request takes: four characters each, six a message, and the whole reply."""
    return text_length // 4 + 6 * messages + max_tokens
