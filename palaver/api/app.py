"""The HTTP application over a service: routes, refusals, limits. It opens and closes nothing."""

from collections.abc import Sequence

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware

from palaver import __version__
from palaver.api.access import Access, RateLimit
from palaver.api.door import BodyLimit, Door, explain_refusals
from palaver.api.routes import about, conversations, listening
from palaver.api.service import Service
from palaver.api.shapes import Problem


def create_app(
    service: Service,
    *,
    metrics: bool = True,
    cors_origins: Sequence[str] = (),
    limit: RateLimit | None = None,
    local_only: bool = False,
    title: str = "Palaver",
) -> FastAPI:
    """The application; the service is entered before requests come. `local_only` refuses other machines."""
    door = Door(Access(service.auth, local_only=local_only, denied=service.denied), limit)
    app = FastAPI(
        title=title,
        version=__version__,
        description="Conversations between models, simulated users and people, each a room on a websocket hub.",
        dependencies=[Depends(door.entered)],
        responses={
            413: {"model": Problem, "description": "A body of more than 4 MiB."},
            429: {"model": Problem, "description": "More requests than the rate limit allows."},
            503: {
                "model": Problem,
                "description": "The server cannot do it now: it stops, is full, or cannot write.",
            },
        },
    )
    explain_refusals(app)
    app.include_router(about.routes(service, door, metrics=metrics))
    app.include_router(conversations.routes(service, door))
    app.include_router(listening.routes(service, door))
    app.add_middleware(BodyLimit)
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
        )
    return app
