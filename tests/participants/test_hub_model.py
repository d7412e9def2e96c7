"""A model in a room, asked through the hub as if it were a local one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from palaver.core.protocol import Join
from palaver.models.scripted import ScriptedModel
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
