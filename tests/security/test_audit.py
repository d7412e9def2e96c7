"""The audit log: who steered, when, from where, and what came of it."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from palaver.api.service import HubSettings, ServiceSettings
from palaver.core.errors import ConfigError
from palaver.hub.audit import LONGEST, MOST_WAITING, AuditLog, hashed, told
from tests.api.talks import serving
from tests.hubs import joined, running
from tests.processes import program


def lines(path: Path) -> list[dict[str, Any]]:
    """What has been written."""
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_each_command_is_kept_with_who_when_where_and_what_came_of_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "audit.jsonl"
    async with running(audit=AuditLog(path)) as hub, joined(hub.url, "Ann", session="s" * 32) as ann:
        async with joined(hub.url, "Bot", "model") as bot:
            await ann.command("/pause Bot")
            await ann.command("/mute Nobody")
            await ann.command("/xyzzy")
            await bot.command("/resume")
            await ann.say("not a command")
        await ann.command("/end enough")
    kept = lines(path)
    assert [(line["actor"], line["command"], line["outcome"]) for line in kept] == [
        ("Ann", "/pause Bot", "ack"),
        ("Ann", "/mute Nobody", "nack"),
        ("Ann", "/xyzzy", "nack"),
        ("Bot", "/resume", "nack"),
        ("Ann", "/end enough", "ack"),
    ]
    assert kept[0]["changed"] and kept[0]["room"] == "main" and kept[0]["time"].endswith("Z")
    assert {line["address"] for line in kept} == {"127.0.0.1"}
    assert {line["role"] for line in kept} == {"moderator", "model"}
    assert kept[3]["code"] == "not_allowed"
    assert kept[0]["session"] == hashed("s" * 32) and "ssss" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_command_whose_sender_hangs_up_at_once_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with running(audit=AuditLog(path)) as hub, joined(hub.url, "Ann") as ann:
        async with joined(hub.url, "Eve") as eve:
            await eve.send({"type": "command", "id": "1", "text": "/topic mine"})
            eve.connection.transport.abort()
        await ann.until("event", kind="topic")
    assert [(line["actor"], line["address"]) for line in lines(path)] == [("Eve", "127.0.0.1")]


@pytest.mark.parametrize("said", ["/w Bot the secret plan", "/W  bot  the secret plan", "//w Bot the secret plan"])
async def test_what_is_whispered_is_not_kept(said: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with running(audit=AuditLog(path)) as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bot", "model"):
        await ann.command(said)
        await ann.command("/w secretary plan")
    kept = lines(path)
    assert [(line["command"], line["outcome"]) for line in kept] == [("/w Bot …", "ack"), ("/w …", "nack")]
    assert "secret" not in path.read_text() and "plan" not in path.read_text()


async def test_what_is_steered_over_http_is_kept_with_its_caller(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    settings = ServiceSettings(hub=HubSettings(audit=path))
    async with serving(settings=settings) as server:
        ident = await server.begin()
        await server.client.post(f"/conversations/{ident}/commands", json={"text": "/topic weather"})
        await server.client.post(f"/conversations/{ident}/commands", json={"text": "w Nobody secret"})
        await server.client.delete(f"/conversations/{ident}")
    over_http = [line for line in lines(path) if line.get("via") == "http"]
    assert [(line["command"], line["outcome"]) for line in over_http[:2]] == [
        ("/topic weather", "done"),
        ("/w …", "refused"),
    ]
    assert {(line["room"], line["address"]) for line in over_http} == {(ident, "127.0.0.1")}
    by_seat = [line["command"] for line in lines(path) if str(line.get("actor", "")).startswith("api-")]
    assert "/topic weather" in by_seat
    assert "secret" not in path.read_text()


async def test_a_full_queue_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path)
    for number in range(MOST_WAITING + 3):
        audit.note({"number": number})
    assert audit.lost == 3
    audit.open()
    async with asyncio.timeout(10):
        while audit._lines.qsize():  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.001)
    audit.note({"number": "last"})
    await audit.close()
    assert lines(path)[-1] == {"number": "last", "lost": 3}
    assert len(lines(path)) == MOST_WAITING + 1


def test_a_long_command_is_cut() -> None:
    assert told("/topic " + "x" * 60_000, ()) == f"/topic {'x' * (LONGEST - 7)}…"


async def test_an_audit_log_that_cannot_be_written_stops_the_hub_before_it_listens(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="audit log"):
        async with running(audit=AuditLog(tmp_path / "file" / "audit.jsonl")):
            pass


async def test_an_answer_is_told_before_the_disk_has_it(tmp_path: Path) -> None:
    """Nobody waits for the audit log: with a writer that does not come to write, commands are answered."""
    audit = AuditLog(tmp_path / "audit.jsonl")
    audit.open = lambda: None  # type: ignore[method-assign]  # no writer at all
    async with running(audit=audit) as hub, joined(hub.url, "Ann") as ann:
        assert (await ann.command("/topic x"))["type"] == "ack"
    assert audit._lines.qsize() == 1


@pytest.mark.system
async def test_a_hub_keeps_it_beside_its_data_unless_told_otherwise(tmp_path: Path) -> None:
    for flags, place in (((), tmp_path / "data" / "audit.jsonl"), (("--audit-log", ""), None)):
        where = ("--port", "0", "--data-dir", str(tmp_path / "data"), "--no-transcripts")
        async with program("server.py", *where, *flags) as hub:
            url = (await hub.until(r"ws://[\d.]+:\d+"))[0]
            async with joined(url, "Ann") as ann:
                answer = await ann.command("/topic x")
                assert answer["type"] == "ack"
                if place is not None:
                    async with asyncio.timeout(5):
                        while not place.read_text():  # noqa: ASYNC110  it is written beside
                            await asyncio.sleep(0.01)
    assert len(lines(tmp_path / "data" / "audit.jsonl")) == 1
