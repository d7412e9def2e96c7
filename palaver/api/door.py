"""What stands before every route: who calls, how often, and how refusals read."""

import logging
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Request, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.routing import Match

from palaver.api.access import Access, Deed, RateLimit
from palaver.api.errors import Refusal, TooMany, Unauthorized
from palaver.api.shapes import Problem
from palaver.core.errors import LogUnavailable
from palaver.hub.auth import Rights

logger = logging.getLogger(__name__)

_BEARER: Final = HTTPBearer(auto_error=False, description="The hub's token, or a moderator's; none where it has none.")


def _header(given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> str | None:
    return f"{given.scheme} {given.credentials}" if given is not None else None


Authorization = Annotated[str | None, Depends(_header)]
"""The header `Authorization: Bearer TOKEN`; named as a security scheme, so that `/docs` can ask for it."""


class Door:
    """Dependencies of the routes."""

    REFUSALS: Final[dict[int | str, dict[str, Any]]] = {401: {"model": Problem}}

    def __init__(self, access: Access, limit: RateLimit | None) -> None:
        self.access = access
        self._limit = limit

    def reader(self, request: Request, authorization: Authorization) -> Rights:
        """Whoever may read what the path is about."""
        return self._admit(request, authorization, "read")

    def member(self, request: Request, authorization: Authorization) -> Rights:
        """Whoever may begin a conversation."""
        return self._admit(request, authorization, "begin")

    def moderator(self, request: Request, authorization: Authorization) -> Rights:
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
    """Every `Refusal` becomes its status and a text; a log that cannot write (a full disk) is 503.

    405 names all methods of the path: each route knows of its own only.
    """

    @app.exception_handler(405)
    async def no_such_method(request: Request, error: Exception) -> JSONResponse:
        fitting = (route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE)
        methods = sorted({method for route in fitting for method in getattr(route, "methods", ())})
        detail = f"{request.url.path} knows {', '.join(methods)}, not {request.method}"
        return JSONResponse({"detail": detail}, 405, {"Allow": ", ".join(methods)})

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
