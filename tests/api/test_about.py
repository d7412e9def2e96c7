"""Health, models, configuration and metrics: nothing is generated, nothing secret is told."""

import re

from palaver.api.service import ServiceSettings
from palaver.models.scripted import ScriptedModel
from tests.api.talks import entry, serving


async def test_health_and_models_generate_nothing() -> None:
    """A4.6"""
    model = ScriptedModel(["Hello."])
    async with serving({"tiny": entry(lambda: model, temperature=0.5)}) as server:
        health = (await server.client.get("/health")).json()
        listed = (await server.client.get("/models")).json()
        one = (await server.client.get("/models/tiny")).json()
    assert health["status"] == "healthy"
    assert health["server_config"]["models"] == ["tiny"]
    assert listed == {"tiny": one}
    assert one == {
        "name": "scripted",
        "type": "scripted",
        "healthy": None,
        "last_error": None,
        "config": {"temperature": 0.5},
    }
    assert not model.prompts


async def test_a_model_is_healthy_when_its_last_reply_was() -> None:
    answers = [ScriptedModel(["Yes."], cycle=True), ScriptedModel([RuntimeError("out of memory")], cycle=True)]
    models = {"good": entry(lambda: answers[0]), "bad": entry(lambda: answers[1])}
    async with serving(models) as server:
        ident = await server.begin(agent_configs=[{"name": "A", "model": "good"}, {"name": "B", "model": "bad"}])
        events = server.events(ident)
        async for _kind, _, content in events:
            if content.get("from") == "A":
                break
        await server.client.delete(f"/conversations/{ident}")
        listed = (await server.client.get("/models")).json()
    assert listed["good"]["healthy"] is True


async def test_metrics_move_with_a_conversation() -> None:
    """A4.16"""
    async with serving() as server:
        before = (await server.client.get("/metrics")).text
        assert 'palaver_conversations_total{status="completed"}' not in before
        await server.over(await server.begin("A", "B", max_turns=4))
        answer = await server.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    counted = dict(re.findall(r"^(\S+) (\S+)$", answer.text, re.MULTILINE))
    assert counted['palaver_conversations_total{status="completed"}'] == "1.0"
    assert counted['palaver_messages_total{role="model"}'] == "4.0"
    assert float(counted['palaver_reply_seconds_count{model="tiny"}']) >= 4
    assert float(counted['palaver_tokens_total{kind="completion",model="tiny"}']) > 0
    assert float(counted["palaver_log_commit_seconds_count"]) > 0


async def test_metrics_that_are_off_are_not_found() -> None:
    """A4.16"""
    async with serving(metrics=False) as server:
        assert (await server.client.get("/metrics")).status_code == 404


async def test_the_configuration_is_shown() -> None:
    async with serving(settings=ServiceSettings(shown={"max_turns": 7})) as server:
        assert (await server.client.get("/config")).json() == {"max_turns": 7}
