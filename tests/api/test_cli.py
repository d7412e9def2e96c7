"""The conversation server as a process: every way to start it, what it logs, how it ends."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.processes import Program, program

pytestmark = pytest.mark.system

CONFIG = """
models:
  parrot:
    name: parrot
    type: scripted
    custom_config: {{lines: ["Hello.", "And then?"], cycle: true}}
  keyed:
    name: gpt-4o-mini
    type: openai
    api_key: sk-very-secret
api: {{port: 0, rate_limit: ""}}
metrics_port: 0
hub: {{port: 0, data_dir: {folder}/data, transcripts: {folder}/transcripts}}
"""


def written(folder: Path, more: str = "") -> str:
    """The path of a config file."""
    path = folder / "palaver.yaml"
    path.write_text(CONFIG.format(folder=folder) + more, encoding="utf-8")
    return str(path)


@asynccontextmanager
async def server(*flags: str, cwd: Path | None = None) -> AsyncIterator[tuple[Program, httpx2.AsyncClient]]:
    """A process that serves, and a client of it."""
    async with program("-m", "palaver.api", *flags, cwd=cwd) as running:
        url = (await running.until(r"Palaver API: (http://\S+)"))[1]
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            yield running, client


@pytest.mark.parametrize(
    "flags",
    [
        ["-c", "FILE"],
        ["serve", "-c", "FILE"],
        ["-c", "FILE", "serve"],
        ["--config", "FILE", "--host", "127.0.0.1", "--port", "0"],
        ["-c", "FILE", "--workers", "2"],
        ["-c", "FILE", "--reload", "--verbose"],
    ],
    ids=" ".join,
)
async def test_every_way_to_start_it_serves_the_models_of_its_file(flags: list[str], tmp_path: Path) -> None:
    """A4.1"""
    path = written(tmp_path)
    async with server(*[path if flag == "FILE" else flag for flag in flags]) as (running, client):
        health = (await client.get("/health")).json()
        assert health["server_config"]["models"] == ["parrot", "keyed"]
        running.signal(signal.SIGTERM)
        assert await running.exit() == 0


async def test_without_a_file_named_the_first_that_is_found_is_served(tmp_path: Path) -> None:
    """A4.1"""
    written(tmp_path)
    async with server("serve", cwd=tmp_path) as (running, client):
        assert "parrot" in (await client.get("/models")).json()
        running.signal(signal.SIGINT)
        assert await running.exit() == 0


async def test_no_answer_holds_a_key(tmp_path: Path) -> None:
    """A4.6"""
    async with server("-c", written(tmp_path)) as (running, client):
        for path in ("/health", "/models", "/models/keyed", "/config", "/metrics", "/openapi.json"):
            answer = await client.get(path)
            assert answer.status_code == 200, path
            assert "sk-very-secret" not in answer.text
        assert "sk-very-secret" not in running.output


async def test_metrics_have_a_port_of_their_own_when_they_are_on(tmp_path: Path) -> None:
    """A4.16"""
    async with server("-c", written(tmp_path)) as (running, client):
        url = (await running.until(r"Palaver metrics: (http://\S+)"))[1]
        for place in (url, "/metrics"):
            assert "palaver_conversations_running 0.0" in (await client.get(place)).text


async def test_metrics_that_are_off_have_neither(tmp_path: Path) -> None:
    """A4.16"""
    async with server("-c", written(tmp_path, "enable_metrics: false\n")) as (running, client):
        assert (await client.get("/metrics")).status_code == 404
        assert "metrics" not in running.output


async def test_logging_follows_the_config(tmp_path: Path) -> None:
    """A4.17"""
    log = tmp_path / "deep" / "server.log"
    more = f'logging: {{level: INFO, format: "<%(levelname)s> %(message)s", file_path: {log}}}\n'
    async with server("-c", written(tmp_path, more)) as (running, _):
        running.signal(signal.SIGTERM)
        assert await running.exit() == 0
    lines = log.read_text(encoding="utf-8").splitlines()
    assert "<INFO> stopping" in lines
    assert all(re.match(r"<(INFO|WARNING)> ", line) for line in lines)


async def test_two_conversations_of_one_second_have_a_transcript_each(tmp_path: Path) -> None:
    """A4.17, A4.4"""
    body: dict[str, Any] = {"agent_configs": [{"name": "Alice"}, {"name": "Bob"}], "max_turns": 2, "background": False}
    async with server("-c", written(tmp_path)) as (running, client):
        answers = await asyncio.gather(*(client.post("/conversations", json=body, timeout=60) for _ in range(2)))
        assert [answer.json()["status"] for answer in answers] == ["completed"] * 2, answers[0].text
        names = {answer.json()["conversation_id"] for answer in answers}
        running.signal(signal.SIGTERM)
        assert await running.exit() == 0
    assert {path.stem for path in (tmp_path / "transcripts").glob("*.jsonl")} == names


async def test_a_port_that_is_taken_is_an_error_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path)
    async with server("-c", path) as (_, client):
        flags = ("--port", str(client.base_url.port), "--data-dir", str(tmp_path / "other"))
        async with program("-m", "palaver.api", "-c", path, *flags) as second:
            assert await second.exit() == 2
            assert "error: cannot listen on 127.0.0.1:" in second.output
            assert "Traceback" not in second.output


async def test_a_hub_beyond_this_machine_needs_a_token(tmp_path: Path) -> None:
    async with program("-m", "palaver.api", "-c", written(tmp_path), "--hub-host", "0.0.0.0") as running:
        assert await running.exit() == 2
        assert "PALAVER_TOKEN" in running.output


async def test_a_config_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "default_modle: parrot\n")
    async with program("-m", "palaver.api", "-c", path) as running:
        assert await running.exit() == 2
        assert "default_modle: unknown key; do you mean default_model?" in running.output


async def test_a_reader_of_events_does_not_hold_up_the_end(tmp_path: Path) -> None:
    body = {"agent_configs": [{"name": "Alice", "type": "human"}, {"name": "Bob"}]}
    async with server("-c", written(tmp_path)) as (running, client):
        ident = (await client.post("/conversations", json=body)).json()["conversation_id"]
        async with client.stream("GET", f"/conversations/{ident}/events") as stream:
            assert stream.status_code == 200
            running.signal(signal.SIGTERM)
            assert await running.exit(seconds=4) == 0
    async with server("-c", written(tmp_path)) as (_, client):
        assert (await client.get(f"/conversations/{ident}")).json()["status"] == "running"  # it goes on
