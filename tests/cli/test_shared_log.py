"""What hubs on a shared log have recorded, as the commands read it."""

import asyncio
from pathlib import Path

import pytest

from palaver.cli import main
from tests.hubs import joined, running
from tests.nats_server import connected, hub_on, nats_server

pytestmark = pytest.mark.system


async def palaver(*words: str) -> int:
    """A command, which has a loop of its own."""
    return await asyncio.to_thread(main, words)


async def test_a_room_of_several_hubs_is_replayed_exported_compared_and_forked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with nats_server(tmp_path / "nats") as server:
        async with (
            hub_on(server, "one") as one,
            hub_on(server, "two") as two,
            joined(one.url, "Ann") as ann,
            joined(two.url, "Bob", "user_sim") as bob,
        ):
            await ann.say("Hello Bob.")
            assert (await bob.say("Hello Ann.", turn=(await bob.until("grant"))["turn"]))["type"] == "ack"
            assert await palaver("replay", server.url) == 0  # beside hubs that run
        copy = str(tmp_path / "copy")
        assert await palaver("fork", server.url, "--at", "2", "--data-dir", copy) == 0
        assert await palaver("diff", server.url, copy) == 0
        assert await palaver("export", server.url, "--format", "md") == 0
    shown = capsys.readouterr().out
    assert "same: 2 messages" in shown
    assert "the same 2 messages" in shown
    assert "> Hello Ann." in shown


async def test_a_log_that_is_not_there_is_told_and_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with nats_server(tmp_path / "nats") as server:
        assert await palaver("export", f"{server.url}/typo") == 1
        async with connected(server.url) as client:
            assert await client.jetstream().streams_info() == []
    assert "no log of hubs is there under that name: no stream typo-log" in capsys.readouterr().err


async def test_a_hub_s_own_copy_of_a_shared_log_leads_to_that_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        nats_server(tmp_path / "nats") as server,
        running(log=server.log("one", tmp_path / "data")) as hub,
        joined(hub.url, "Ann") as ann,
    ):
        await ann.say("Hello.")
    assert await palaver("export", str(tmp_path / "data")) == 2
    told = capsys.readouterr().err
    assert "data is of a hub on a shared log: name that log (nats://host:port), or for what was said " in told
    assert await palaver("export", told.split()[-1], "--format", "md") == 0
    assert "> Hello." in capsys.readouterr().out
