"""What stands before every route: who calls, how often, and how refusals read."""

import logging
from typing import Annotated, Any, Final

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse

from palaver.api.access import Access, Caller, RateLimit
from palaver.api.errors import Refusal, TooMany, Unauthorized
from palaver.api.shapes import Problem
from palaver.core.errors import LogUnavailable

logger = logging.getLogger(__name__)

Authorization = Annotated[str | None, Header()]


class Door:
    """Dependencies of the routes."""

    REFUSALS: Final[dict[int | str, dict[str, Any]]] = {401: {"model": Problem}}

    def __init__(self, access: Access, limit: RateLimit | None) -> None:
        self.access = access
        self._limit = limit

    def reader(self, authorization: Authorization = None) -> Caller:
        """Whoever may watch; returns the most that this caller may be."""
        return self.access.role_of(authorization)

    def member(self, authorization: Authorization = None) -> None:
        """Whoever may join a room."""
        self.access.admit(authorization, "observer")

    def moderator(self, authorization: Authorization = None) -> None:
        """Whoever may steer a room."""
        self.access.admit(authorization, "moderator")

    def entered(self, request: Request) -> None:
        """Look at where a request comes from, and count it, unless it only asks whether the server lives."""
        if request.url.path == "/health":
            return
        client = request.client.host if request.client else ""
        self.access.admit_from(client, request.url.hostname or "")
        if self._limit is not None:
            self._limit.take(client)


def explain_refusals(app: FastAPI) -> None:
    """Every `Refusal` becomes its status and a text; a log that cannot write (a full disk) is 503."""

    @app.exception_handler(LogUnavailable)
    async def unavailable(request: Request, error: LogUnavailable) -> JSONResponse:
        logger.error("%s %s: %s", request.method, request.url.path, error)
        return JSONResponse({"detail": f"nothing can be kept now: {error}"}, 503, {"Retry-After": "5"})

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> JSONResponse:
        headers = {}
        if isinstance(refusal, Unauthorized):
            headers["WWW-Authenticate"] = "Bearer"
        if isinstance(refusal, TooMany):
            headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
        return JSONResponse({"detail": str(refusal)}, refusal.status, headers)
