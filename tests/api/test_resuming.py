"""Conversations that outlive the process that began them: stopped, killed, paused, and those that cannot go on."""

import asyncio
import json
import resource
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from palaver.api.store import ATTEMPTS, Record, Store
from palaver.core.errors import LogUnavailable
from palaver.models.scripted import ScriptedModel
from tests.api.talks import Server, entry, serving, talker
from tests.hubs import joined
from tests.processes import program

CONFIG = """
models:
  parrot:
    name: parrot
    type: scripted
    custom_config: {{lines: ["One.", "Two.", "Three.", "Four."], cycle: true, delay: 0.1}}
evaluators: [{{type: rule_based, config: {{max_turn_number: 6}}}}]
api: {{port: 0, rate_limit: ""}}
enable_metrics: false
hub: {{port: 0, data_dir: {folder}/data, transcripts: {folder}/transcripts}}
"""


def slow() -> ScriptedModel:
    """A model that takes its time."""
    return ScriptedModel(["I see.", "Tell me more."], cycle=True, delay=0.1)


async def spoken(server: Server, ident: str, count: int) -> None:
    """Wait until so many messages of models are there."""
    async for kind, _, content in server.events(ident):
        count -= kind == "message" and content["role"] == "model"
        if not count:
            return


def speakers(view: dict[str, Any]) -> str:
    """First letters of the models that spoke, in order."""
    return "".join(message["from"][0] for message in view["messages"] if message["role"] == "model")


async def test_what_ran_when_the_server_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    """A restart loses nothing and says nothing twice; each agent still knows its goal and all that was said."""
    models = {"slow": entry(slow)}
    agents = [{"name": "Alice", "goal": "sell the lamp", "secret": "it is broken"}, {"name": "Bob"}]
    async with serving(models, folder=tmp_path) as server:
        ident = await server.begin(agent_configs=agents, max_turns=4, action_order="sequential")
        await spoken(server, ident, 3)
    again = slow()
    async with serving({"slow": entry(lambda: again)}, folder=tmp_path) as server:
        running = (await server.client.get(f"/conversations/{ident}")).json()
        assert running["status"] == "running" and running["turn_count"] in (1, 2)
        view = await server.over(ident)
    assert (view["status"], view["turn_count"], view["error"]) == ("completed", 4, None)
    assert speakers(view) == "ABABABAB"
    assert [message["seq"] for message in view["messages"]] == list(range(1, 10))
    told = [str(prompt) for prompt in again.prompts]
    assert all("sell the lamp" in prompt for prompt in told if "You are Alice" in prompt)
    assert not any("broken" in prompt for prompt in told if "You are Bob" in prompt)
    assert all(prompt.count("I see.") for prompt in told)
    assert view["statistics"]["messages"] == 8
    async with serving(models, folder=tmp_path) as server:  # and it is over for good
        assert (await server.client.get(f"/conversations/{ident}")).json() == view


async def test_who_waits_for_the_end_is_answered_when_the_server_stops(tmp_path: Path) -> None:
    asked = asyncio.Event()

    def line(prompt: object) -> str:
        asked.set()
        return "Hm."

    async with serving({"slow": entry(lambda: ScriptedModel(line, hang=True))}, folder=tmp_path) as server:
        body = {"agent_configs": [{"name": "A"}, {"name": "B"}], "background": False}
        waiting = asyncio.create_task(server.client.post("/conversations", json=body))
        await asked.wait()
        server.service.stop()
        answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (201, "running")


@pytest.mark.parametrize("order", ["round-robin", "simultaneous", "random"])
async def test_every_order_goes_on(order: str, tmp_path: Path) -> None:
    async with serving({"slow": entry(slow)}, folder=tmp_path) as server:
        ident = await server.begin(max_turns=6, action_order=order, seed=3)
        await spoken(server, ident, 3)
    async with serving({"slow": entry(slow)}, folder=tmp_path) as server:
        view = await server.over(ident)
    assert (view["status"], view["turn_count"]) == ("completed", 6)
    assert len(speakers(view)) == (12 if order == "simultaneous" else 6)


async def test_a_pause_outlives_the_server(tmp_path: Path) -> None:
    """Pause means silence, also for the conversation that is taken up: only a moderator ends it."""
    async with serving({"slow": entry(slow)}, folder=tmp_path) as server:
        ident = await server.begin(max_turns=4)
        await spoken(server, ident, 1)
        answer = await server.client.post(f"/conversations/{ident}/commands", json={"text": "/pause"})
        assert answer.status_code == 200
        before = len((await server.client.get(f"/conversations/{ident}")).json()["messages"])
    again = slow()
    async with serving({"slow": entry(lambda: again)}, folder=tmp_path) as server:
        async with joined(server.service.url, "Mona", room=ident) as mona:
            await mona.until("floor", paused=True)
            for name in ("Alice", "Bob"):
                if name not in {seat["name"] for seat in mona.seen[0]["roster"]}:
                    await mona.until("presence", name=name, state="joined")
            await mona.command("/status")
            assert not again.prompts
            assert len((await server.client.get(f"/conversations/{ident}")).json()["messages"]) == before
            await mona.command("/resume")
            await mona.until("event", kind="ended")
        view = await server.over(ident)
    assert (view["status"], view["turn_count"], len(speakers(view))) == ("completed", 4, 4)
    assert view["statistics"]["adherence"] == 1.0


async def test_one_whose_model_is_gone_has_failed_and_says_so(tmp_path: Path) -> None:
    async with serving({"slow": entry(slow)}, folder=tmp_path) as server:
        ident = await server.begin()
    async with serving({"other": entry(talker)}, folder=tmp_path) as server:
        view = (await server.client.get(f"/conversations/{ident}")).json()
    assert view["status"] == "failed"
    assert view["error"].endswith("cannot go on: model 'slow' is unknown; known: other")


async def test_one_that_is_cancelled_is_not_taken_up(tmp_path: Path) -> None:
    async with serving({"slow": entry(slow)}, folder=tmp_path) as server:
        ident = await server.begin()
        await server.client.delete(f"/conversations/{ident}")
    async with serving({"slow": entry(slow)}, folder=tmp_path) as server:
        assert (await server.client.get(f"/conversations/{ident}")).json()["status"] == "cancelled"
        assert (await server.client.get("/health")).json()["running"] == 0


async def test_one_that_ends_the_server_each_time_is_not_taken_up_for_ever(tmp_path: Path) -> None:
    for attempt in range(ATTEMPTS + 2):
        store = Store(tmp_path)
        unfinished = await store.open(now=1.0)
        if attempt == 0:
            await store.begin(Record("conv-1", "running", 0.0, {}), "{}")
        else:
            assert [one.record.id for one in unfinished] == (["conv-1"] if attempt <= ATTEMPTS else [])
        if attempt == 1:
            await store.keep("conv-1", '{"turns":1}')  # it came on: it is counted anew
            await store.close()
            store = Store(tmp_path)
            assert (await store.open(now=1.0))[0].progress == '{"turns":1}'
        record = await store.get("conv-1")
        await store.close()
    assert record is not None and record.status == "failed"


@pytest.mark.system
@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
async def test_a_server_that_is_killed_twice_completes_the_conversation_and_says_nothing_twice(
    order: str, tmp_path: Path
) -> None:
    """`kill -9`, in the middle of turns: the process that comes after finishes them."""
    (tmp_path / "palaver.yaml").write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    body = {"agent_configs": [{"name": name} for name in ("Ada", "Bob", "Cid")], "action_order": order}
    ident = ""
    for most in (4, 9, None):
        async with program("-m", "palaver.api", "-c", str(tmp_path / "palaver.yaml")) as running:
            url = (await running.until(r"Palaver API: (http://\S+)"))[1]
            async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
                ident = ident or (await client.post("/conversations", json=body)).json()["conversation_id"]
                said = await _listen(client, ident, most)
                if most is None:
                    view = (await client.get(f"/conversations/{ident}")).json()
            running.signal(signal.SIGTERM if most is None else signal.SIGKILL)
            await running.exit()
    assert (view["status"], view["turn_count"], view["error"]) == ("completed", 6, None)
    assert view["reasoning"].startswith("6 turns are done (max_turn_number 6)")
    assert [message["seq"] for message in view["messages"]] == list(range(1, 20)) == [one["seq"] for one in said]
    turns = [speakers(view)[place : place + 3] for place in range(0, 18, 3)]
    assert all(sorted(turn) == ["A", "B", "C"] for turn in turns)
    assert len({message["id"] for message in view["messages"]}) == 19
    assert len(view["results"]["environment"]["terminated"]["turns"]) == 6
    written = (tmp_path / "transcripts" / f"{ident}.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["seq"] for line in written] == list(range(1, 20))


@pytest.mark.system
async def test_a_full_disk_holds_a_conversation_up_and_ends_nothing(tmp_path: Path) -> None:
    """What cannot be kept is answered 503; when there is room again the conversation goes on, nothing lost."""
    (tmp_path / "palaver.yaml").write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    body = {"agent_configs": [{"name": name} for name in ("Ada", "Bob", "Cid")], "action_order": "sequential"}
    async with program("-m", "palaver.api", "-c", str(tmp_path / "palaver.yaml")) as running:
        url = (await running.until(r"Palaver API: (http://\S+)"))[1]
        pid = running.process.pid
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            ident = (await client.post("/conversations", json=body)).json()["conversation_id"]
            await _listen(client, ident, 4)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            await running.until("log: cannot be written|could not be kept")
            refused = await client.post("/conversations", json=body)
            assert refused.status_code == 503 and refused.headers["Retry-After"] == "5", refused.text
            assert (await client.get(f"/conversations/{ident}")).json()["status"] == "running"
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            said = await _listen(client, ident, None)
            view = (await client.get(f"/conversations/{ident}")).json()
    assert (view["status"], view["turn_count"], view["error"]) == ("completed", 6, None)
    assert [one["seq"] for one in said] == list(range(1, 20))
    assert speakers(view) == "ABC" * 6


async def _listen(client: httpx2.AsyncClient, ident: str, most: int | None) -> list[dict[str, Any]]:
    """Read messages until there are so many, or to the end."""
    said = []
    async with asyncio.timeout(60), client.stream("GET", f"/conversations/{ident}/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: ") and '"seq":' in line:
                said.append(json.loads(line[6:]))
            if len(said) == most:
                break
    return said


async def test_a_second_server_on_the_same_folder_takes_nothing_from_the_first(tmp_path: Path) -> None:
    """Whatever starts it again and again: what runs in the first is not counted as cut off, and comes to its end."""
    async with serving({"slow": entry(slow)}, folder=tmp_path) as server:
        ident = await server.begin(agent_configs=[{"name": "Alice"}], max_turns=1000)
        await spoken(server, ident, 1)
        for _ in range(ATTEMPTS + 1):
            with pytest.raises(LogUnavailable, match="another hub uses"):
                async with serving({"slow": entry(slow)}, folder=tmp_path):
                    pass
        assert (await server.client.get(f"/conversations/{ident}")).json()["status"] == "running"
        await server.client.delete(f"/conversations/{ident}")
