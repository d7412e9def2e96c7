"""What the server is: health, models, configuration, metrics. Nothing here calls a model."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse

from palaver import __version__
from palaver.api.door import Door
from palaver.api.errors import NotFound
from palaver.api.service import Service
from palaver.api.shapes import Health, ModelView, Problem

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def routes(service: Service, door: Door, *, metrics: bool) -> APIRouter:
    """The routes; `/metrics` is there when `metrics` says so."""
    router = APIRouter(tags=["server"])
    reader = [Depends(door.reader)]

    @router.get("/health")
    async def health(may_read: Annotated[bool, Depends(door.may_read)]) -> Health:
        """Whether the server runs. What it is made of is told to those who may read."""
        return Health(
            status="healthy",
            version=__version__,
            hub=service.url,
            rooms=len(service.hub.rooms),
            running=service.conversations.running,
            waiting=service.conversations.waiting,
            server_config=_summary(service) if may_read else {},
        )

    @router.get("/models", dependencies=reader, responses=door.REFUSALS)
    async def models() -> dict[str, ModelView]:
        """The server's models by id."""
        return {ident: _model(service, ident) for ident in service.shelf.entries}

    @router.get("/models/{name:path}", dependencies=reader, responses={**door.REFUSALS, 404: {"model": Problem}})
    async def model(name: str) -> ModelView:
        """One model."""
        if name not in service.shelf.entries:
            raise NotFound(f"there is no model {name!r}; known: {', '.join(service.shelf.entries)}")
        return _model(service, name)

    @router.get("/config", dependencies=reader, responses=door.REFUSALS)
    async def config() -> dict[str, Any]:
        """The configuration, without secrets."""
        return dict(service.settings.shown)

    if metrics:

        @router.get("/metrics", response_class=PlainTextResponse)
        async def counters() -> PlainTextResponse:
            """What is counted, in Prometheus' text format."""
            return PlainTextResponse(service.metrics.text(), media_type=METRICS_TYPE)

    return router


def _summary(service: Service) -> dict[str, Any]:
    return {
        "models": list(service.shelf.entries),
        "default_model": service.shelf.default,
        "max_turns": service.settings.conversations.max_turns,
        "evaluators": list(service.settings.evaluators),
    }


def _model(service: Service, ident: str) -> ModelView:
    entry = service.shelf.entries[ident]
    healthy, error = service.shelf.state(ident)
    return ModelView(name=entry.name, type=entry.kind, healthy=healthy, last_error=error, config=dict(entry.settings))
