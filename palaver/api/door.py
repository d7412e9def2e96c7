"""What stands before every route: who calls, how often, and how refusals read."""

import logging
from typing import Annotated, Any, Final

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse

from palaver.api.access import Access, Deed, RateLimit
from palaver.api.errors import Refusal, TooMany, Unauthorized
from palaver.api.shapes import Problem
from palaver.core.errors import LogUnavailable
from palaver.hub.auth import Rights

logger = logging.getLogger(__name__)

Authorization = Annotated[str | None, Header()]


class Door:
    """Dependencies of the routes."""

    REFUSALS: Final[dict[int | str, dict[str, Any]]] = {401: {"model": Problem}}

    def __init__(self, access: Access, limit: RateLimit | None) -> None:
        self.access = access
        self._limit = limit

    def reader(self, request: Request, authorization: Authorization = None) -> Rights:
        """Whoever may read what the path is about."""
        return self._admit(request, authorization, "read")

    def member(self, request: Request, authorization: Authorization = None) -> Rights:
        """Whoever may begin a conversation."""
        return self._admit(request, authorization, "begin")

    def moderator(self, request: Request, authorization: Authorization = None) -> Rights:
        """Whoever may steer the conversation that the path names."""
        return self._admit(request, authorization, "steer")

    def _admit(self, request: Request, authorization: str | None, deed: Deed) -> Rights:
        client = request.client.host if request.client else ""
        return self.access.admit(authorization, deed, request.path_params.get("ident"), client)

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
