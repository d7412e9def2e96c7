"""When to ask a failed endpoint again, and when not. Knows status codes and seconds, no clock and no network."""

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from palaver.models.model import LLMResponse


class Fault(Enum):
    """Whose fault a failure is, which says what may help."""

    PASSING = "passing"
    """Overload, a broken connection, a time limit: the same request may succeed later."""
    MODEL = "model"
    """Key, right or name refused (401, 403, 404): only another model helps."""
    REQUEST = "request"
    """The request itself is refused: nothing helps."""
    UNKNOWN = "unknown"
    """The backend does not say: another model may help."""


_PASSING = frozenset({0, 408, 409, 425, 429})
_MODEL = frozenset({401, 403, 404})


def fault_of_status(status: int) -> Fault:
    """The fault behind an HTTP status; 0 stands for a connection that failed or a time limit that ran out."""
    if status in _PASSING or status >= 500:
        return Fault.PASSING
    return Fault.MODEL if status in _MODEL else Fault.REQUEST


def fault_of(response: LLMResponse) -> Fault:
    """The fault behind a failed response, read from the `status` of its provenance."""
    status = response.provenance.get("status")
    return fault_of_status(status) if isinstance(status, int) else Fault.UNKNOWN


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off whose jitter keeps every wait at least as long as the one before it.

    Also a Retry-After is met with up to a tenth more, lest all who were sent away come back in one moment.
    """

    attempts: int = 5
    """How often a request is sent at most."""
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_retry_after: float = 120.0
    """An endpoint that asks for more patience than this gets no further request."""

    def wait(self, failures: int, retry_after: float | None, chance: float) -> float | None:
        """Seconds to wait after that many failures, None to give up; `chance` is a random number in [0, 1)."""
        if failures >= self.attempts:
            return None
        if retry_after is not None and retry_after > self.longest_retry_after:
            return None
        backoff = min(self.first_wait * 2.0 ** (failures - 1), self.longest_wait) * (1 + chance) / 2
        return max(backoff, (retry_after or 0.0) * (1 + chance / 10))


ONCE = RetryPolicy(attempts=1)
"""No second attempt: for callers that retry themselves."""


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """What `Retry-After` (RFC 9110, section 10.2.3: seconds or a date) or `retry-after-ms` asks for.

    `now` is the time of day in seconds since 1970, for dates.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            return max(0.0, float(text) * unit)
        except ValueError:
            continue
    try:
        when = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, when.timestamp() - now)
