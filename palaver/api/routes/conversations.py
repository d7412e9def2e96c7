"""Conversations: begin, list, look at, cancel, steer."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from palaver.api.access import Caller, caller_of
from palaver.api.door import Door
from palaver.api.errors import Refusal
from palaver.api.plan import Status
from palaver.api.service import Service
from palaver.api.shapes import (
    CommandAnswer,
    CommandRequest,
    ConversationRequest,
    ConversationSummary,
    ConversationView,
    Problem,
    Spoken,
    moment,
)
from palaver.api.store import Record
from palaver.core.message import Message
from palaver.hub.auth import Rights


def routes(service: Service, door: Door) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/conversations", tags=["conversations"], responses=door.REFUSALS)

    Steerer = Annotated[Rights, Depends(door.moderator)]
    wrong: dict[int | str, dict[str, Any]] = {400: {"model": Problem}}
    lost: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}
    over: dict[int | str, dict[str, Any]] = {**lost, 409: {"model": Problem}}

    @router.post("", status_code=201, dependencies=[Depends(door.member)], responses=wrong)
    async def begin(request: ConversationRequest, response: Response) -> ConversationSummary:
        """Begin a conversation: a room on the hub in which the agents talk."""
        waits = not request.background or ("background" not in request.model_fields_set and service.settings.waits)
        record = await service.start(request)
        if waits:
            record = await service.outcome(record.id)
        response.headers["Location"] = f"/conversations/{record.id}"
        return summary(record)

    @router.get("", dependencies=[Depends(door.reader)])
    async def listed(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, lt=2**53)] = 0,
        status: Status | None = None,
    ) -> list[ConversationSummary]:
        """Conversations, newest first."""
        return [
            summary(record) for record in await service.conversations.latest(limit=limit, offset=offset, status=status)
        ]

    @router.get("/{ident}", responses=lost)
    async def one(ident: str, rights: Annotated[Rights, Depends(door.reader)]) -> ConversationView:
        """A conversation with all that was said; whispers are shown to moderators."""
        record = await service.conversations.get(ident)
        return view(record, visible(await service.messages(ident), caller_of(rights)))

    @router.delete("/{ident}", responses=over)
    async def cancel(ident: str, rights: Steerer, request: Request) -> ConversationSummary:
        """End a conversation and its room at once."""
        with _noted(service, rights, request, ident, "/end cancelled"):
            return summary(await service.conversations.cancel(ident))

    @router.post("/{ident}/commands", responses={**wrong, **over})
    async def command(ident: str, asked: CommandRequest, rights: Steerer, request: Request) -> CommandAnswer:
        """Give a moderator's command, as at the console."""
        with _noted(service, rights, request, ident, asked.text):
            done = await service.conversations.command(ident, asked.text)
        return CommandAnswer(text=done.text, changed=dict(done.changed) if done.changed is not None else None)

    return router


@contextlib.contextmanager
def _noted(service: Service, rights: Rights, request: Request, ident: str, command: str) -> Iterator[None]:
    """Keep in the audit log who did it, and whether it was done."""
    client = request.client.host if request.client else ""
    try:
        yield
    except Refusal:
        service.note(rights, client, ident, command, "refused")
        raise
    service.note(rights, client, ident, command, "done")


def visible(messages: list[Message], caller: Caller) -> list[Message]:
    """What this caller may read."""
    return [message for message in messages if message.to is None or caller == "moderator"]


def summary(record: Record) -> ConversationSummary:
    """A record in a few figures."""
    return ConversationSummary(**_figures(record))


def view(record: Record, messages: list[Message]) -> ConversationView:
    """A record with all that was said."""
    agents = record.request["agents"]
    return ConversationView(
        **_figures(record),
        models={agent["name"]: agent["model"] for agent in agents if agent["model"]},
        messages=[Spoken.model_validate(msgspec.to_builtins(message)) for message in messages],
        results=dict(record.results),
        statistics=dict(record.statistics),
    )


def _figures(record: Record) -> dict[str, Any]:
    agents = record.request["agents"]
    models = list(dict.fromkeys(agent["model"] for agent in agents if agent["model"]))
    return {
        "conversation_id": record.id,
        "room": record.id,
        "status": record.status,
        "error": record.error,
        "agents": [agent["name"] for agent in agents],
        "agent_count": len(agents),
        "model_used": ", ".join(models),
        "scenario": record.request["scenario"],
        "max_turns": record.request["max_turns"],
        "turn_count": record.turn_count,
        "created": moment(record.created),
        "ended": moment(record.ended) if record.ended is not None else None,
        "reasoning": record.reasoning,
    }
