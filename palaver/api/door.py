"""What stands before every route: who calls, how often, how much, and how refusals read."""

import logging
import re
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, HTTPException, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palaver.api.access import Access, Deed, RateLimit
from palaver.api.errors import Refusal, TooMany, Unauthorized
from palaver.api.shapes import Problem
from palaver.core.errors import LogUnavailable
from palaver.hub.auth import Denied, Rights

logger = logging.getLogger(__name__)

MOST_BODY: Final = 2**22
"""Bytes of a request: fifty agents with all that may be said of each, and some more."""
_INNER: Final = re.compile(r"constrained-|function-(after|before)\[")
"""How pydantic calls steps of its own, which say nothing to a caller."""
_METHODS: Final = ("DELETE", "GET", "HEAD", "POST")
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

    def may_read(self, request: Request) -> bool:
        """Whether whoever asks how the server is may read what else there is; nobody is warned of one who may not.

        The document names no token here: none is asked for.
        """
        client = request.client.host if request.client else ""
        try:
            self.access.admit_from(client, request.url.hostname or "")
            self.access.rights_for(request.headers.get("authorization"), "read", None)
        except (Unauthorized, Denied):
            return False
        return True

    def entered(self, request: Request) -> None:
        """Look at where a request comes from, and count it, unless it only asks whether the server lives."""
        if request.url.path == "/health":
            return
        client = request.client.host if request.client else ""
        self.access.admit_from(client, request.url.hostname or "")
        if self._limit is not None:
            self._limit.take(client)


class BodyLimit:
    """Lets no body through that is longer than `MOST_BODY`: to read one holds up everybody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MOST_BODY:
                raise HTTPException(413, f"the body has more than {MOST_BODY} bytes")
            return message

        await self._app(scope, bounded, send)


def explain_refusals(app: FastAPI) -> None:
    """Every `Refusal` becomes its status and a text; a log that cannot write (a full disk) is 503.

    405 names all methods of the path: each route knows of its own only. 422 says where and what, never what was sent.
    """

    @app.exception_handler(404)
    async def no_such_page(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": f"there is no {request.url.path}; /docs tells what there is"}, 404)

    @app.exception_handler(405)
    async def no_such_method(request: Request, error: Exception) -> JSONResponse:
        def takes(method: str) -> bool:
            scope = {**request.scope, "method": method}
            return any(route.matches(scope)[0] is Match.FULL for route in app.router.routes)

        methods = ", ".join(filter(takes, _METHODS))
        detail = f"{request.url.path} knows {methods}, not {request.method}"
        return JSONResponse({"detail": detail}, 405, {"Allow": methods})

    @app.exception_handler(RequestValidationError)
    async def wrong_form(request: Request, error: RequestValidationError) -> JSONResponse:
        is_json = request.headers.get("content-type", "").partition(";")[0].strip().endswith("json")
        problems = [_problem(each, is_json=is_json) for each in error.errors()]
        return JSONResponse({"detail": problems}, 422)

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


def _problem(error: dict[str, Any], *, is_json: bool) -> dict[str, Any]:
    """Where, and what is wrong; steps within pydantic's own types are left out, and what UTF-8 cannot say."""
    loc = [step if isinstance(step, int) else _sayable(step) for step in error["loc"] if not _INNER.match(str(step))]
    text = _sayable(error["msg"].removeprefix("Value error, "))
    if loc == ["body"] and error["type"] in ("missing", "model_attributes_type"):
        text = "must be a JSON object" + ("" if is_json else ", sent with the header 'Content-Type: application/json'")
    if error["type"] == "json_invalid":
        text = f"is no JSON from character {error['loc'][-1]} on: {error['ctx']['error']}"
    return {"type": error["type"], "loc": loc, "msg": text}


def _sayable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
