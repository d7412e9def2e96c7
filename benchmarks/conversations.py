"""Conversations over HTTP: 50 at once with 3 scripted agents and 10 turns each, beside one after another.

`python benchmarks/conversations.py [--conversations 50] [--delay 0.05]`. Every turn waits for all three agents
(`simultaneous`), each of which takes `--delay` seconds to answer, as an endpoint would. Checked besides: every
conversation is completed, and `/health` and `/models` call no model.

Then 500 whose models answer at once begin together (`--rush 500`) in a server of its own process, which is asked for
`/health` all the while.
"""

import argparse
import asyncio
import http.client
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from palaver.api.compose import application_of, service_of
from palaver.api.serving import bound, listening, url_of
from palaver.config import ServerConfig

AGENTS = ("Ada", "Bob", "Cleo")
SAMPLED = 3
"""Conversations held one after another; the time of all is taken from their mean."""
RUSH_TURNS = 5
LOOK_EVERY = 0.02
"""Seconds between two looks at `/health`."""


def config(folder: Path, delay: float) -> dict[str, Any]:
    """A server with one scripted model and no limit on requests."""
    custom = {"lines": ["I see.", "Tell me more.", "And then?"], "cycle": True, "delay": delay}
    return {
        "models": {"script": {"name": "script", "type": "scripted", "custom_config": custom}},
        "api": {"port": 0, "rate_limit": ""},
        "hub": {"port": 0, "data_dir": str(folder / "data"), "transcripts": str(folder / "logs")},
        "logging": {"level": "WARNING"},
        "enable_metrics": False,
    }


async def conversation(client: httpx2.AsyncClient, turns: int) -> dict[str, Any]:
    """One conversation, from its request to its record."""
    body = {
        "agent_configs": [{"name": name} for name in AGENTS],
        "scenario": "Three friends plan a weekend",
        "max_turns": turns,
        "action_order": "simultaneous",
        "background": False,
    }
    answer = await client.post("/conversations", json=body, timeout=600)
    answer.raise_for_status()
    view: dict[str, Any] = answer.json()
    return view


async def measured(count: int, turns: int, delay: float) -> None:
    """Print the figures of one server."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ServerConfig.model_validate(config(Path(folder), delay) | {"enable_metrics": True})
        async with service_of(settings) as service:
            listener = bound("127.0.0.1", 0)
            limits = httpx2.Limits(max_connections=count + 10)
            client = httpx2.AsyncClient(base_url=url_of(listener), trust_env=False, limits=limits)
            async with listening(application_of(settings, service), listener), client:
                await report(client, count, turns)


async def report(client: httpx2.AsyncClient, count: int, turns: int) -> None:
    """Hold the conversations and tell."""
    for path in ("/health", "/models"):
        (await client.get(path)).raise_for_status()
    asked = replies((await client.get("/metrics")).text)
    print(f"calls of a model for /health and /models: {asked:.0f}")
    began = time.perf_counter()
    for _ in range(SAMPLED):
        await conversation(client, turns)
    alone = (time.perf_counter() - began) / SAMPLED
    began = time.perf_counter()
    views = await asyncio.gather(*(conversation(client, turns) for _ in range(count)))
    together = time.perf_counter() - began
    completed = sum(view["status"] == "completed" and view["turn_count"] == turns for view in views)
    spoken = count * turns * len(AGENTS)
    print(f"completed: {completed} of {count}, {turns} turns of {len(AGENTS)} agents each")
    print(f"one conversation alone: {alone:.2f} s; {count} one after another: {alone * count:.1f} s")
    print(
        f"{count} at once: {together:.2f} s ({alone * count / together:.1f} times as fast, {spoken / together:.0f}/s)"
    )
    for view in views:
        if view["status"] != "completed":
            raise SystemExit(f"{view['conversation_id']}: {view['error']}")


def rush(count: int) -> None:
    """Begin so many at once and tell how long `/health` takes meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "palaver.yaml"
        file.write_text(json.dumps(config(Path(folder), 0)), encoding="utf-8")  # JSON is YAML
        command = [sys.executable, "-m", "palaver.api", "-c", str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                url = next(line.split()[-1] for line in server.stdout if line.startswith("Palaver API"))
                asyncio.run(rushed(url, count))
            finally:
                server.terminate()


async def rushed(url: str, count: int) -> None:
    """The rush at this server."""
    waits: list[float] = []
    over = threading.Event()
    looking = asyncio.create_task(asyncio.to_thread(look, url, waits, over))
    limits = httpx2.Limits(max_connections=count)
    began = time.perf_counter()
    async with httpx2.AsyncClient(base_url=url, trust_env=False, limits=limits) as client:
        views = await asyncio.gather(*(conversation(client, RUSH_TURNS) for _ in range(count)))
    together = time.perf_counter() - began
    over.set()
    await looking
    completed = sum(view["status"] == "completed" for view in views)
    cuts = statistics.quantiles(waits, n=100)
    print(f"a rush of {count}: {completed} completed in {together:.1f} s")
    print(
        f"/health meanwhile ({len(waits)} times): p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms, "
        f"at most {max(waits) * 1000:.0f} ms"
    )


def look(url: str, waits: list[float], over: threading.Event) -> None:
    """Ask for `/health` again and again, and note how long each answer took."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
    while not over.wait(LOOK_EVERY):
        began = time.perf_counter()
        connection.request("GET", "/health")
        connection.getresponse().read()
        waits.append(time.perf_counter() - began)


def replies(metrics: str) -> float:
    """Replies of models, as counted."""
    lines = [line for line in metrics.splitlines() if line.startswith("palaver_reply_seconds_count")]
    return sum(float(line.split()[-1]) for line in lines)


def main() -> None:
    flags = argparse.ArgumentParser(description="Conversations over HTTP, at once and one after another.")
    flags.add_argument("--conversations", type=int, default=50, metavar="N")
    flags.add_argument("--turns", type=int, default=10, metavar="N")
    flags.add_argument("--delay", type=float, default=0.05, metavar="SECONDS", help="of each reply")
    flags.add_argument("--rush", type=int, default=500, metavar="N", help="conversations that begin together at last")
    arguments = flags.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}; a reply takes {arguments.delay} s")
    asyncio.run(measured(arguments.conversations, arguments.turns, arguments.delay))
    rush(arguments.rush)


if __name__ == "__main__":
    main()
