"""What the API refuses, each with the HTTP status that says so."""

from palaver.core.errors import PalaverError


class Refusal(PalaverError):
    """A request that is not carried out; the text says why."""

    status = 400


class UnknownModel(Refusal):
    """A model that the server's configuration does not name."""


class BadRequest(Refusal):
    """A request that is understood and makes no sense."""


class Unauthorized(Refusal):
    """A token is missing or wrong."""

    status = 401


class NotFound(Refusal):
    """There is no such thing."""

    status = 404


class Conflict(Refusal):
    """It cannot be done as things stand."""

    status = 409


class TooMany(Refusal):
    """More requests than `rate_limit` allows."""

    status = 429

    def __init__(self, text: str, retry_after: float) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Stopping(Refusal):
    """The server cannot do it now; another time it may."""

    status = 503
