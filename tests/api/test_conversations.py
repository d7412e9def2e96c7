"""Conversations over HTTP, against a hub and participants that are real."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from palaver.api import conversations
from palaver.api.plan import Plan
from palaver.core.errors import ModelError
from palaver.core.protocol import Event, Join, Welcome
from palaver.models.scripted import ScriptedModel
from palaver.participants.link import Link
from palaver.scenes.episode import EpisodeLog
from tests.api.talks import entry, serving, talker
from tests.hubs import joined


async def test_the_documents_quick_start_is_completed_without_goals() -> None:
    """A4.4"""
    async with serving() as server:
        view = await server.over(await server.begin("Alice", "Bob", max_turns=4))
    assert (view["status"], view["turn_count"], view["error"]) == ("completed", 4, None)
    spoken = [message for message in view["messages"] if message["role"] == "model"]
    assert [message["from"] for message in spoken] == ["Alice", "Bob", "Alice", "Bob"]
    assert set(view["results"]) == {"Alice", "Bob"}
    assert view["agent_count"] == 2
    assert view["model_used"] == "tiny"


async def test_each_agent_speaks_with_its_own_model_and_the_rest_with_the_conversations() -> None:
    """A4.5"""
    first, second, third = talker(), talker(), talker()
    models = {"one": entry(lambda: first), "two": entry(lambda: second), "three": entry(lambda: third)}
    agents = [{"name": "Alice", "model": "two"}, {"name": "Bob"}]
    async with serving(models) as server:
        view = await server.over(await server.begin(agent_configs=agents, model_name="three"))
    assert view["models"] == {"Alice": "two", "Bob": "three"}
    assert (len(first.prompts), len(second.prompts), len(third.prompts)) == (0, 2, 2)


async def test_an_unknown_model_is_400_and_its_names_are_told() -> None:
    """A4.5"""
    async with serving() as server:
        for body in (
            {"agent_configs": [{"name": "Alice"}], "model_name": "gpt-9"},
            {"agent_configs": [{"name": "Alice", "model": "gpt-9"}]},
        ):
            answer = await server.client.post("/conversations", json=body)
            assert answer.status_code == 400
            assert answer.json()["detail"] == "model 'gpt-9' is unknown; known: tiny"


async def test_more_conversations_than_may_run_at_once_are_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MOST_RUNNING", 2)
    body = {"agent_configs": [{"name": "A"}, {"name": "B"}]}
    async with serving({"slow": entry(lambda: ScriptedModel(["Hm."], hang=True))}) as server:
        answers = await asyncio.gather(*(server.client.post("/conversations", json=body) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 503, 503, 503, 503]


async def test_an_unknown_conversation_is_404_everywhere() -> None:
    """A4.5"""
    async with serving() as server:
        client = server.client
        answers = [
            await client.get("/conversations/nobody"),
            await client.delete("/conversations/nobody"),
            await client.get("/conversations/nobody/events"),
            await client.get("/conversations/nobody/transcript"),
            await client.post("/conversations/nobody/commands", json={"text": "/pause"}),
            await client.get("/models/nobody"),
        ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"agent_configs": []},
        {"agent_configs": [{"name": ""}]},
        {"agent_configs": [{"name": "system"}]},
        {"agent_configs": [{"name": "A"}, {"name": "a"}]},
        {"agent_configs": [{"name": "A"}], "max_turns": 0},
        {"agent_configs": [{"name": "A"}], "action_order": "loudest"},
        {"agent_configs": [{"name": "A", "temperatur": 1}]},
        {"agent_configs": [{"name": "A", "type": "robot"}]},
        {"agent_configs": [{"name": "A", "profile": {"public_info": "long " * 4_001}}]},
        {"agent_configs": [{"name": "A", "profile": {"age": 1e999}}]},
    ],
)
async def test_a_body_that_does_not_fit_is_422(body: dict[str, Any]) -> None:
    """A4.5"""
    async with serving() as server:
        content = json.dumps(body)
        answer = await server.client.post(
            "/conversations", content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422


async def test_an_order_that_names_no_agent_is_400() -> None:
    async with serving() as server:
        body = {"agent_configs": [{"name": "A"}], "action_order": "agent_id_based", "speaking_order": [3]}
        assert (await server.client.post("/conversations", json=body)).status_code == 400


async def test_a_conversation_that_fails_says_why() -> None:
    """A4.5"""

    async def fails(plan: Plan, models: Any, **options: Any) -> EpisodeLog:
        raise ModelError("the endpoint is away")

    async with serving(runner=fails) as server:
        view = await server.over(await server.begin())
    assert (view["status"], view["error"]) == ("failed", "the endpoint is away")


async def test_a_model_without_its_key_fails_the_conversation_and_not_the_server() -> None:
    def keyless() -> ScriptedModel:
        raise ModelError("no key for gpt: set OPENAI_API_KEY")

    async with serving({"gpt": entry(keyless)}) as server:
        view = await server.over(await server.begin())
        model = (await server.client.get("/models/gpt")).json()
    assert (view["status"], view["error"]) == ("failed", "no key for gpt: set OPENAI_API_KEY")
    assert (model["healthy"], model["last_error"]) == (False, "no key for gpt: set OPENAI_API_KEY")


async def test_a_cancelled_conversation_ends_its_room_and_is_not_cancelled_twice() -> None:
    async with serving({"slow": entry(lambda: ScriptedModel(["Well…"], hang=True))}) as server:
        ident = await server.begin()
        async with Link(server.service.url, Join(name="Mona", role="observer", room=ident)) as mona:
            assert isinstance(await anext(mona), Welcome)
            answer = await server.client.delete(f"/conversations/{ident}")
            assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
            async with asyncio.timeout(10):
                assert (await _ended(mona)).text == "cancelled"
        assert (await server.client.delete(f"/conversations/{ident}")).status_code == 409
        refused = await server.client.post(f"/conversations/{ident}/commands", json={"text": "/pause"})
        assert refused.status_code == 409
        assert (await server.client.get("/health")).json()["running"] == 0


async def _ended(link: Link) -> Event:
    async for frame in link:
        if isinstance(frame, Event) and frame.kind == "ended":
            return frame
    raise AssertionError("the link ended before the room did")


async def test_a_moderator_on_the_hub_watches_and_steers_what_was_begun_over_http() -> None:
    """A5.2"""
    async with serving({"slow": entry(lambda: ScriptedModel(["Hm."], cycle=True, delay=0.02))}) as server:
        ident = await server.begin(max_turns=500)
        async with joined(server.service.url, "Mona", room=ident) as mona:
            first = await mona.until("message", role="model")
            assert first["room"] == ident
            assert (await mona.command("/pause"))["type"] == "ack"
            assert (await server.client.get(f"/conversations/{ident}")).json()["status"] == "running"
            resumed = await server.client.post(f"/conversations/{ident}/commands", json={"text": "/resume"})
            assert resumed.status_code == 200, resumed.text
            await mona.until("message", role="model")
        counted = (await server.client.get("/metrics")).text
        assert "palaver_conversations_running 1.0" in counted
        await server.client.delete(f"/conversations/{ident}")


async def test_commands_answer_as_at_the_console() -> None:
    async with serving({"slow": entry(lambda: ScriptedModel(["Well…"], hang=True))}) as server:
        path = f"/conversations/{await server.begin()}/commands"

        async def command(text: str) -> tuple[int, dict[str, Any]]:
            answer = await server.client.post(path, json={"text": text})
            return answer.status_code, answer.json()

        assert (await command("/topic Weather"))[0] == 200
        status, done = await command("pause")
        assert status == 200
        assert done["changed"].keys() <= {"paused", "paused by"}  # before its first turn the room pauses itself
        assert done["changed"]
        status, problem = await command("/fly")
        assert status == 400
        assert "'/fly' is unknown" in problem["detail"]
        assert (await command("/mute Zoe"))[0] in (400, 409)


async def test_conversations_are_listed_newest_first() -> None:
    async with serving() as server:
        idents = [await server.begin() for _ in range(3)]
        for ident in idents:
            await server.over(ident)
        listed = (await server.client.get("/conversations", params={"status": "completed", "limit": 2})).json()
        assert [one["conversation_id"] for one in listed] == idents[:0:-1]
        assert (await server.client.get("/conversations", params={"status": "running"})).json() == []


async def test_a_conversation_in_the_foreground_is_over_when_it_is_answered() -> None:
    async with serving() as server:
        body = {"agent_configs": [{"name": "A"}, {"name": "B"}], "max_turns": 1, "background": False}
        answer = await server.client.post("/conversations", json=body)
    assert (answer.status_code, answer.json()["status"]) == (201, "completed")


async def test_what_is_over_survives_a_restart_as_it_was(tmp_path: Path) -> None:
    async with serving(folder=tmp_path) as server:
        done = await server.begin()
        before = await server.over(done)
    async with serving(folder=tmp_path) as server:
        assert (await server.client.get(f"/conversations/{done}")).json() == before


async def test_goals_and_secrets_are_not_given_out() -> None:
    agents = [{"name": "Alice", "goal": "sell the lamp", "secret": "it is broken"}, {"name": "Bob"}]
    async with serving() as server:
        ident = await server.begin(agent_configs=agents)
        await server.over(ident)
        texts = [(await server.client.get(path)).text for path in (f"/conversations/{ident}", "/conversations")]
    assert not any("lamp" in text or "broken" in text for text in texts)


async def test_rooms_that_are_over_and_empty_leave_the_hubs_memory() -> None:
    async with serving() as server:
        idents = [await server.begin() for _ in range(4)]
        for ident in idents:
            await server.over(ident)
        last = await server.begin()
        await server.over(last)
        assert not set(idents) & set(server.service.hub.rooms)
        assert len((await server.client.get(f"/conversations/{idents[0]}")).json()["messages"]) == 5


async def test_agents_of_a_hub_that_others_reach_come_in_by_a_door_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under its own address this machine is one among others, and would be held to what one address may ask."""
    monkeypatch.setattr("palaver.api.service.is_loopback", lambda host: False)  # as 192.0.2.2 would be
    async with serving() as server:
        assert server.service.conversations._url != server.service.url
        view = await server.over(await server.begin(max_turns=2))
    assert (view["status"], view["turn_count"]) == ("completed", 2)
