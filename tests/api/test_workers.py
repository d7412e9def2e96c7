"""Conversations in worker processes: the same over HTTP, wherever they are carried out, and whatever ends."""

import asyncio
import logging
import re
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from palaver.api import workers as holding
from palaver.api.channel import receive
from palaver.api.plan import Plan
from palaver.api.workers import Keep, WorkerLost, Workers
from palaver.api.working import Teller
from palaver.config import ServerConfig
from palaver.scenes.episode import EpisodeLog
from palaver.scenes.progress import Progress
from palaver.scenes.scene import Agent, Scene
from tests.api.test_cli import server, written
from tests.processes import Program

pytestmark = pytest.mark.system

MORE = """  {name}:
    name: {name}
    type: scripted
    custom_config: {{lines: [x], cycle: true, delay: {delay}}}
"""
BODY: dict[str, Any] = {"agent_configs": [{"name": "Ann"}, {"name": "Bob"}], "max_turns": 2}


def config(folder: Path) -> str:
    """A config with two more models, of which one takes its time and one does not answer."""
    path = Path(written(folder))
    more = MORE.format(name="slow", delay=0.5) + MORE.format(name="mute", delay=600)
    path.write_text(path.read_text().replace("api:", f"{more}api:", 1))
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


async def heard(client: httpx2.AsyncClient, idents: list[str]) -> None:
    """Wait until somebody has spoken in each."""
    for ident in idents:
        async with asyncio.timeout(60), client.stream("GET", f"/conversations/{ident}/events") as events:
            async for line in events.aiter_lines():
                if '"role":"model"' in line:
                    break


async def test_workers_hold_conversations_that_look_as_ever_over_http(tmp_path: Path) -> None:
    """A4.1"""
    async with server("-c", config(tmp_path), "--workers", "2", "-v") as (running, client):
        idents = await asyncio.gather(*(begun(client) for _ in range(6)))
        views = [await ended(client, ident) for ident in idents]
        assert Counter(view["status"] for view in views) == {"completed": 6}
        said = [message for view in views for message in view["messages"] if message["role"] == "model"]
        assert Counter(message["from"] for message in said) == {"Ann": 6, "Bob": 6}
        assert all(view["statistics"] for view in views)
        assert "DEBUG websockets" not in running.output  # its lines hold tokens
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


async def test_what_a_killed_worker_held_goes_on_in_another(tmp_path: Path) -> None:
    path = config(tmp_path)
    async with server("-c", path, "--workers", "2") as (running, client):
        pids = await workers(running, 2)
        held = [await begun(client, model_name="slow", max_turns=10) for _ in range(4)]
        await heard(client, held)
        killed = await asyncio.create_subprocess_exec("kill", "-9", str(pids[0]))
        await killed.wait()
        views = await asyncio.gather(*(ended(client, ident) for ident in held))
        assert running.output.count("goes on elsewhere: the process that carried it out has ended (-9)") >= 1
        assert len(await workers(running, 3)) == 3
    for view in views:
        said = [message["from"] for message in view["messages"] if message["role"] == "model"]
        assert (view["status"], view["turn_count"], said) == ("completed", 10, ["Ann", "Bob"] * 5)


async def test_a_conversation_that_no_worker_can_hold_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "AGAIN", 0.0)
    asked: list[Progress | None] = []

    class Deadly(Workers):
        async def _have_done(self, plan: Plan, url: str, token: str | None, keep: Keep) -> EpisodeLog:
            asked.append(plan.so_far)
            await keep(Progress(turns=len(asked)))
            raise WorkerLost("the process that carried it out has ended (-11)")

    kept: list[Progress] = []

    async def keep(progress: Progress) -> None:
        kept.append(progress)

    plan = Plan("conv-1", Scene([Agent("Ann", "parrot"), Agent("Bob", "parrot")]))
    with pytest.raises(WorkerLost, match="has ended"):
        await Deadly(ServerConfig(), 2)(plan, {}, url="", token=None, keep=keep)
    assert [one and one.turns for one in asked] == [None, 1, 2]
    assert [one.turns for one in kept] == [1, 2, 3]


async def test_what_a_worker_logs_travels_whatever_hangs_on_it() -> None:
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=theirs)
    reader, other = await asyncio.open_connection(sock=ours)
    logger = logging.Logger("palaver.worker")
    logger.addHandler(Teller(writer))
    try:
        raise OSError("no room")
    except OSError:
        logger.exception("lost %s", "Ann", extra={"websocket": writer})
    async with asyncio.timeout(10):
        record = await receive(reader)
    assert isinstance(record, logging.LogRecord)
    assert (record.name, record.levelname) == ("palaver.worker", "ERROR")
    assert record.getMessage().startswith("lost Ann\nTraceback") and record.getMessage().endswith("no room")
    writer.close()
    other.close()
