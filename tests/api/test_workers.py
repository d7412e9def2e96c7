"""Conversations in worker processes: the same over HTTP, wherever they are carried out, and whatever ends."""

import asyncio
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.test_cli import server, written
from tests.processes import Program

pytestmark = pytest.mark.system

HANGING = "  mute:\n    name: mute\n    type: scripted\n    custom_config: {{lines: [x], delay: 600}}\napi:"
BODY: dict[str, Any] = {"agent_configs": [{"name": "Ann"}, {"name": "Bob"}], "max_turns": 2}


def config(folder: Path) -> str:
    """A config whose second model does not answer."""
    path = Path(written(folder))
    path.write_text(path.read_text().replace("api:", HANGING.format(), 1))
    return str(path)


async def workers(running: Program, count: int) -> list[int]:
    """The ids of the worker processes that were started, once there are so many."""
    found: list[str] = []
    while len(found) < count:
        await running.until(r"(?s)" + r"worker process \d+ is up.*" * (len(found) + 1))
        found = re.findall(r"worker process (\d+) is up", running.output)
    return [int(ident) for ident in found]


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that there still are."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def begun(client: httpx2.AsyncClient, **fields: Any) -> str:
    """A conversation's id."""
    answer = await client.post("/conversations", json={**BODY, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["conversation_id"])


async def ended(client: httpx2.AsyncClient, ident: str) -> dict[str, Any]:
    """What it came to, once the stream of its events has ended."""
    async with asyncio.timeout(60):
        await client.get(f"/conversations/{ident}/events", timeout=60)
    view: dict[str, Any] = (await client.get(f"/conversations/{ident}")).json()
    return view


async def test_workers_hold_conversations_that_look_as_ever_over_http(tmp_path: Path) -> None:
    """A4.1"""
    async with server("-c", config(tmp_path), "--workers", "2") as (running, client):
        idents = await asyncio.gather(*(begun(client) for _ in range(6)))
        views = [await ended(client, ident) for ident in idents]
        assert Counter(view["status"] for view in views) == {"completed": 6}
        said = [message for view in views for message in view["messages"] if message["role"] == "model"]
        assert Counter(message["from"] for message in said) == {"Ann": 6, "Bob": 6}
        assert all(view["statistics"] for view in views)
        assert re.search(r"INFO palaver.participants.participant: Ann said", running.output)
        assert (await client.get("/models/parrot")).json()["healthy"] is True
        assert 'palaver_reply_seconds_count{model="parrot"} 12.0' in (await client.get("/metrics")).text
        mute = await begun(client, model_name="mute")
        assert (await client.delete(f"/conversations/{mute}")).json()["status"] == "cancelled"
        await begun(client, model_name="mute")  # it goes on when the server starts again
        pids = await workers(running, 2)
        running.signal(signal.SIGTERM)
        assert await running.exit() == 0
    assert not alive(pids)


async def test_a_worker_that_is_killed_fails_what_it_held_and_is_started_again(tmp_path: Path) -> None:
    async with server("-c", config(tmp_path), "--workers", "2") as (running, client):
        pids = await workers(running, 2)
        held = [await begun(client, model_name="mute", background=True) for _ in range(4)]
        async with asyncio.timeout(60):
            while (await client.get("/health")).json()["waiting"]:
                pass
        endings = {asyncio.create_task(ended(client, ident)) for ident in held}
        killed = await asyncio.create_subprocess_exec("kill", "-9", str(pids[0]))
        await killed.wait()
        failed: list[dict[str, Any]] = []
        while len(failed) < 2:
            done, endings = await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
            failed += [task.result() for task in done]
        assert {one["error"] for one in failed} == {"the process that carried it out has ended (-9)"}
        await workers(running, 3)
        assert (await ended(client, await begun(client)))["status"] == "completed"
        assert len((await client.get("/conversations?status=running")).json()) == 2
        for task in endings:
            task.cancel()
        await asyncio.gather(*endings, return_exceptions=True)
