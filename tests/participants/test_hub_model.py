"""A model in a room, asked through the hub as if it were a local one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from palaver.core.message import Message
from palaver.core.protocol import Ack, Command, FloorView, Join, Say, System, Welcome, decode_member, encode
from palaver.models.model import LLMResponse
from palaver.models.scripted import PASS, ScriptedModel
from palaver.participants.hub_model import HubModel
from palaver.participants.link import Link
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings
from tests.hubs import running


@asynccontextmanager
async def seated(url: str, name: str, model: ScriptedModel) -> AsyncIterator[None]:
    """A scripted participant in the room."""
    async with Link(url, Join(name=name, role="model", deltas=False)) as link:
        task = asyncio.create_task(Participant(link, Settings(), model).run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_answers_what_it_is_asked_also_where_others_sit() -> None:
    async with (
        running() as hub,
        seated(hub.url, "Sage", ScriptedModel(["first", "second"])),
        seated(hub.url, "Other", ScriptedModel(["not me"])),
    ):
        model = HubModel(hub.url, "sage", limit=10)
        pieces: list[str] = []
        one = await model.complete([{"role": "user", "content": "who are you?"}], on_text=pieces.append)
        two = await model.complete([{"role": "user", "content": "and now?"}])
    assert (one.content, one.success, pieces) == ("first", True, ["first"])
    assert two.content == "second"


async def test_what_goes_wrong_is_said() -> None:
    model = HubModel("ws://127.0.0.1:9", "Sage", limit=5)
    assert "no hub" in str((await model.complete([{"role": "user", "content": "x"}])).error)
    async with running() as hub:
        nobody = await HubModel(hub.url, "Nobody", limit=5).complete([{"role": "user", "content": "x"}])
        assert "Nobody" in str(nobody.error)
        async with seated(hub.url, "Sage", ScriptedModel([RuntimeError("out of memory")])):
            failed = await HubModel(hub.url, "Sage", limit=5).complete([{"role": "user", "content": "x"}])
            assert "out of memory" in str(failed.error)
            assert not failed.success


async def test_one_that_chooses_silence_is_not_waited_for() -> None:
    async with running() as hub, seated(hub.url, "Sage", ScriptedModel([PASS, "now I do"])):
        model = HubModel(hub.url, "Sage", limit=60)
        silent = await model.complete([{"role": "user", "content": "say nothing"}])
        assert (silent.success, silent.error) == (False, "Sage gave no answer: chose silence")
        assert (await model.complete([{"role": "user", "content": "and now?"}])).content == "now I do"


async def test_one_that_leaves_is_not_waited_for() -> None:
    class Endless(ScriptedModel):
        async def complete(self, *arguments: Any, **options: Any) -> LLMResponse:
            leaving.set()
            return await super().complete(*arguments, **options)

    leaving = asyncio.Event()
    async with running() as hub:
        asking: asyncio.Task[LLMResponse]
        async with seated(hub.url, "Sage", Endless(["too late"], delay=60)):
            model = HubModel(hub.url, "Sage", limit=60)
            asking = asyncio.create_task(model.complete([{"role": "user", "content": "x"}]))
            await leaving.wait()
        gone = await asking
    assert gone.error == "Sage has left the room"


async def test_an_answer_that_comes_in_one_read_with_the_acknowledgement_counts() -> None:
    """A machine that is busy reads late, and finds all of it waiting."""

    now = "2026-01-01T00:00:00.000Z"
    answer = Message(room="main", seq=2, id="m2", sender="Sage", role="model", content="an answer", timestamp=now)

    floor = FloorView(epoch=1, paused=False, policy="open")
    welcome = Welcome(name="Guest", role="moderator", session="s", seq=0, missed=0, members=2, roster=(), floor=floor)

    async def hub(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(encode(welcome), text=True)
        async for raw in socket:
            match decode_member(raw):
                case Say(id=ident):
                    frames = (System(content="first of the read"), Ack(id=ident, seq=1), answer)
                    read = [Frame(Opcode.TEXT, encode(frame)).serialize(mask=False) for frame in frames]
                    socket.transport.write(b"".join(read))
                case Command(id=ident):
                    await socket.send(encode(Ack(id=ident)), text=True)

    async with serve(hub, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        said = await HubModel(f"ws://127.0.0.1:{port}", "Sage", limit=10).complete([{"role": "user", "content": "x"}])
    assert said.content == "an answer"
