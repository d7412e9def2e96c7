"""Streams of events and transcripts, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from palaver.api.passing import Passing
from palaver.core.protocol import FloorView, Streamed
from palaver.models.scripted import ScriptedModel
from palaver.models.stopping import unless_pressed
from tests.api.talks import Server, entry, serving
from tests.hubs import joined

EVIL = "<img src=x onerror=alert(1)>\n\nevent: status\ndata: {}"


async def _all(server: Server, ident: str, **options: Any) -> list[tuple[str, str, Any]]:
    return [event async for event in server.events(ident, **options)]


async def test_a_stream_holds_every_message_once_and_ends_with_the_status() -> None:
    async with serving() as server:
        ident = await server.begin(max_turns=3)
        events = await _all(server, ident)
        view = await server.over(ident)
    assert [event[0] for event in events] == ["message"] * len(view["messages"]) + ["status"]
    assert [event[2]["seq"] for event in events[:-1]] == list(range(1, len(events)))
    assert events[-1][2]["status"] == "completed"


async def test_a_stream_is_taken_up_where_it_was_left() -> None:
    async with serving() as server:
        ident = await server.begin(max_turns=4)
        await server.over(ident)
        later = await _all(server, ident, params={"after": 3})
        again = await _all(server, ident, headers={"Last-Event-ID": "4"})
        over = await server.client.get(f"/conversations/{ident}/events", headers={"Last-Event-ID": "end"})
    assert [event[1] for event in later] == ["4", "5", "end"]
    assert [event[1] for event in again] == ["5", "end"]
    assert over.status_code == 204


async def test_who_says_to_have_read_more_than_was_said_gets_what_comes_as_new() -> None:
    models = {"slow": entry(lambda: ScriptedModel(["Hm."], cycle=True, delay=0.05))}
    async with serving(models) as server:
        ident = await server.begin(max_turns=4)
        async for event in server.events(ident):
            if event[2]["role"] == "model":
                break
        events = await _all(server, ident, params={"after": 2**40})
    assert [event[0] for event in events[-3:]] == ["message", "message", "status"]
    assert "changed" not in {event[0] for event in events}


class Writing(ScriptedModel):
    """Writes a first piece, and the rest when the gate is open."""

    def __init__(self, gate: asyncio.Event) -> None:
        super().__init__(["So it goes, on and on."], cycle=True)
        self.gate = gate

    async def complete(self, messages: Any, *, on_text: Any = None, cancel: Any = None, **options: Any) -> Any:
        on_text("So it goes, ")
        await unless_pressed(cancel, self.gate.wait())
        return await super().complete(messages, on_text=lambda text: None, cancel=cancel, **options)


async def test_a_live_stream_brings_text_as_it_is_written_and_the_floor() -> None:
    gate = asyncio.Event()
    async with serving({"slow": entry(lambda: Writing(gate))}) as server:
        ident = await server.begin(max_turns=1)
        events = []
        async for event in server.events(ident, params={"live": "true"}):
            events.append(event)
            if event[0] == "delta":
                gate.set()
    delta = next(content for kind, _, content in events if kind == "delta")
    spoken = [content for kind, _, content in events if kind == "message" and content["role"] == "model"]
    assert (delta["from"], delta["text"]) == ("Alice", "So it goes,")
    assert [(one["turn"], one["content"]) for one in spoken] == [(delta["turn"], "So it goes, on and on.")]
    assert any(kind == "floor" and content["holders"] for kind, _, content in events)
    assert events[-1][0] == "status"


async def _until_text(server: Server, ident: str) -> AsyncIterator[tuple[str, str, Any]]:
    async for event in server.events(ident, params={"live": "true"}):
        yield event
        if event[0] == "delta":
            return


async def test_what_a_pause_has_silenced_is_not_streamed() -> None:
    """Pause means silence, over HTTP too: what waits for a reader is thrown away with the turn."""
    gate = asyncio.Event()
    async with serving({"slow": entry(lambda: Writing(gate))}) as server:
        ident = await server.begin(max_turns=1)
        written = [event async for event in _until_text(server, ident)][-1][2]
        host = server.service.hub.rooms[ident]
        passing = Passing(lambda: None)
        passing.attach(host)
        passing.take(())
        host.outbox.delta(written["turn"], msgspec.convert(written, Streamed))
        await server.client.post(f"/conversations/{ident}/commands", json={"text": "/pause"})
        (view,) = passing.take(())
        assert isinstance(view, FloorView) and view.paused
        passing.detach()
        assert passing not in host.outbox.listeners
        await server.client.delete(f"/conversations/{ident}")


async def test_what_is_said_cannot_pretend_to_be_an_event() -> None:
    async with serving({"evil": entry(lambda: ScriptedModel([EVIL], cycle=True))}) as server:
        ident = await server.begin(max_turns=1)
        events = await _all(server, ident)
        page = (await server.client.get(f"/conversations/{ident}/transcript", params={"format": "html"})).text
    assert sum(event[0] == "status" for event in events) == 1
    assert events[1][2]["content"] == EVIL
    assert "<img" not in page
    assert "&lt;img" in page


async def test_a_redaction_reaches_whoever_has_read_the_message() -> None:
    async with serving({"slow": entry(lambda: ScriptedModel(["Hm."], hang=True))}) as server:
        ident = await server.begin()
        changed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def watch() -> None:
            async for kind, _, content in server.events(ident):
                if kind == "message" and content["seq"] == 1:
                    await server.client.post(f"/conversations/{ident}/commands", json={"text": "/redact 1 private"})
                if kind == "changed":
                    changed.set_result(content)

        watching = asyncio.create_task(watch())
        async with asyncio.timeout(10):
            message = await changed
        assert (message["seq"], message["content"], message["redacted"]) == (1, "", "private")
        await server.client.delete(f"/conversations/{ident}")
        await watching


async def test_whispers_are_for_moderators() -> None:
    headers = {"Authorization": "Bearer reader"}
    models = {"slow": entry(lambda: ScriptedModel(["Hm."], cycle=True, delay=0.05))}
    async with serving(models, token="reader", moderator_token="chief", headers=headers) as server:
        ident = await server.begin(max_turns=6)
        async with joined(server.service.url, "Mona", room=ident, token="chief") as mona:
            await mona.until("message", role="model")
            assert (await mona.command("/w Alice the lamp is broken"))["type"] == "ack"
        await server.over(ident)
        chief = {"Authorization": "Bearer chief"}
        for path in ("", "/transcript", "/events", "/transcript?as=Alice"):
            assert "lamp" not in (await server.client.get(f"/conversations/{ident}{path}")).text
            assert "lamp" in (await server.client.get(f"/conversations/{ident}{path}", headers=chief)).text


async def test_a_transcript_comes_in_five_forms() -> None:
    async with serving() as server:
        ident = await server.begin("Alice", "Bob", max_turns=4)
        view = await server.over(ident)

        async def transcript(**params: str) -> str:
            answer = await server.client.get(f"/conversations/{ident}/transcript", params=params)
            assert answer.status_code == 200, answer.text
            return answer.text

        lines = [json.loads(line) for line in (await transcript()).splitlines()]
        assert [line["content"] for line in lines] == [message["content"] for message in view["messages"]]
        assert (await transcript(format="md")).startswith("# Weekend plans")
        assert "<article " in await transcript(format="html")
        bob = json.loads(await transcript(format="openai", **{"as": "bob"}))["messages"]
        assert [turn["role"] for turn in bob] == ["user", "assistant", "user", "assistant"]
        shared = json.loads(await transcript(format="sharegpt", **{"as": "Alice"}))["conversations"]
        assert [turn["from"] for turn in shared] == ["human", "gpt", "human", "gpt", "human"]
        unknown = await server.client.get(f"/conversations/{ident}/transcript", params={"as": "Zoe"})
        assert (unknown.status_code, unknown.json()["detail"]) == (400, "'Zoe' takes no part; these do: Alice, Bob")


async def test_a_server_that_stops_ends_its_streams() -> None:
    async with serving({"slow": entry(lambda: ScriptedModel(["Hm."], hang=True))}) as server:
        ident = await server.begin()
        stream = server.events(ident)
        assert (await anext(stream))[0] == "message"
        server.service.stop()
        assert [event async for event in stream if event[0] == "status"] == []
