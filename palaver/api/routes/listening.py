"""What was said: as a stream of events that can be taken up again, and as a transcript in several forms."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse

from palaver.api.access import Caller, caller_of
from palaver.api.door import Door
from palaver.api.errors import BadRequest
from palaver.api.passing import Passing
from palaver.api.routes.conversations import summary, visible
from palaver.api.service import Service
from palaver.api.shapes import Problem
from palaver.api.watching import Watch
from palaver.core.message import Message, same_name
from palaver.core.protocol import FloorView, Streamed
from palaver.hub.auth import Rights
from palaver.records.formats import FORMATS, Format, rendered

KEEP_ALIVE: Final = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the stream."""
PAGE: Final = 200
END: Final = "end"
"""Id of a stream's last event: a browser that comes back with it is told to stay away (204)."""

_Rights = Rights


def routes(service: Service, door: Door) -> APIRouter:
    """The routes."""
    refusals: dict[int | str, dict[str, Any]] = {**door.REFUSALS, 404: {"model": Problem}}
    router = APIRouter(prefix="/conversations/{ident}", tags=["listening"], responses=refusals)

    @router.get(
        "/events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}, 204: {"description": "It is over and was read."}},
    )
    async def events(
        ident: str,
        rights: Annotated[_Rights, Depends(door.reader)],
        after: Annotated[int, Query(ge=0, lt=2**53)] = 0,
        live: bool = False,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """`message` events by `seq`, `changed` where one was redacted, and `status` at the end.

        With `live` also `delta`, text as it is written (its `message` has the same `turn`), and `floor`, who may speak.
        Come back with `after`, or with `Last-Event-ID` as browsers do by themselves. A stream ends with its token.
        """
        await service.conversations.get(ident)
        if last_event_id == END:
            return Response(status_code=204)
        if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
            after = max(after, int(last_event_id[:16]))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_events(service, ident, after, rights, live=live), media_type=EVENTS, headers=headers)

    @router.get("/transcript", response_class=Response, responses={200: _TYPES, 400: {"model": Problem}})
    async def transcript(
        ident: str,
        rights: Annotated[_Rights, Depends(door.reader)],
        format: Format = "jsonl",
        seen_as: Annotated[str | None, Query(alias="as", max_length=64)] = None,
    ) -> Response:
        """The transcript; `as` is the agent who sees it: its words are the assistant's in the chat formats."""
        record = await service.conversations.get(ident)
        names = [agent["name"] for agent in record.request["agents"]]
        name = next((each for each in names if seen_as is not None and same_name(each, seen_as)), None)
        if seen_as is not None and name is None:
            raise BadRequest(f"{seen_as!r} takes no part; these do: {', '.join(names)}")
        said = visible(await service.messages(ident), caller_of(rights))
        if name is None and format in ("openai", "sharegpt"):  # one object: the first agent's view
            name = names[0]
        body = rendered(format, said, seen_as=name, title=record.request["scenario"] or ident)
        return Response(body, media_type=FORMATS[format])

    return router


EVENTS: Final = "text/event-stream"
_KINDS: Final = {Streamed: "delta", FloorView: "floor"}
_TYPES: Final[dict[str, Any]] = {"content": {kind.partition(";")[0]: {} for kind in FORMATS.values()}}


async def _events(service: Service, ident: str, after: int, rights: Rights, *, live: bool) -> AsyncIterator[bytes]:
    """What is new, at the reader's own pace: it is read from the archive, so a slow one costs no memory.

    It ends with the reader's token.
    """
    caller = caller_of(rights)
    after = await _seen(service, ident, after)
    with service.archive.watching(ident, after) as watch, _passing(watch) as passing:
        while not service.stopping.is_set() and (left := rights.expires - time.time()) > 0:
            watch.fresh.clear()
            if live:
                passing.attach(service.hub.rooms.get(ident))
            record = await service.conversations.get(ident)  # read first: what it ends with is in the archive then
            said: set[int] = set()
            while page := await service.archive.messages(ident, after, PAGE):
                after = page[-1].seq
                said.update(message.turn for message in page if message.turn is not None)
                yield b"".join(_event("message", message, message.seq) for message in visible(page, caller))
            yield b"".join(_changed(watch, caller))
            yield b"".join(_event(_KINDS[type(frame)], frame) for frame in passing.take(said))
            if record.status != "running":
                yield _event("status", summary(record).model_dump(mode="json"), END)
                return
            try:
                async with asyncio.timeout(min(KEEP_ALIVE, left)):
                    await watch.fresh.wait()
            except TimeoutError:
                yield b":\n\n"


@contextlib.contextmanager
def _passing(watch: Watch) -> Iterator[Passing]:
    passing = Passing(watch.fresh.set)
    try:
        yield passing
    finally:
        passing.detach()


async def _seen(service: Service, ident: str, after: int) -> int:
    """`after`, or the last `seq` that there is: nobody has read what was not said yet."""
    if after == 0 or await service.archive.messages(ident, after - 1, 1):
        return after
    said = await service.messages(ident)
    return said[-1].seq if said else 0


def _changed(watch: Watch, caller: Caller) -> list[bytes]:
    changed = [msgspec.json.decode(body, type=Message) for body in watch.take_rewritten()]
    return [_event("changed", message) for message in visible(changed, caller)]


def _event(kind: str, content: Any, ident: int | str | None = None) -> bytes:
    """JSON holds no raw line break, so one `data` line is enough."""
    number = f"id: {ident}\n" if ident is not None else ""
    return f"event: {kind}\n{number}data: ".encode() + msgspec.json.encode(content) + b"\n\n"
