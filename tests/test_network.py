"""The whole network as a user runs it: processes on one machine, steered by a moderator, some of them killed."""

import asyncio
import signal
from pathlib import Path

import pytest

from palaver.core.transcript import from_lines
from tests.hubs import Member, joined
from tests.processes import ROOT, Program, hub_process, program
from tests.stubs.openai_stub import OpenAIStub

LOCAL = ("--model", "tiny", "--threads", "1", "--history-length", "5", "--temperature", "0.7", "--seed", "1")


def client(url: str, name: str, *flags: str) -> tuple[str, ...]:
    """The command line of a model client."""
    return ("client.py", "--name", name, "--server", url, *flags)


@pytest.mark.system
async def test_five_processes_talk_are_paused_lose_one_and_end(tmp_path: Path) -> None:
    """A5.1: hub, local bot, API bot, simulated user and moderator: pause, resume, kill one, reconnect, stop.

    Also A2.3 and A2.4: a local client and one behind an API answer the moderator; A0.12's simulated user is there.
    """
    with OpenAIStub([f"Answer number {number}." for number in range(50)]) as stub:
        key = {"OPENAI_API_KEY": "none"}
        api = ("--api-base", stub.base_url, "--model", "stub-model")
        user = ("user_sim.py", "--name", "User", "--max-turns", "4", "--first-message", "What do you think of tea?")
        rules = ("--policy", "round_robin", "--hop-limit", "0")
        async with (
            hub_process(tmp_path, *rules) as (url, hub),
            program(*client(url, "Local", *LOCAL, "--prompt-file", "sage.txt")) as local,
            program(*client(url, "Api", *api), env=key) as remote,
            program("moderator.py", "--server", url, "--console", "plain", typed=True) as moderator,
            joined(url, "Watcher", "observer", deltas=False) as watcher,
        ):
            await watcher.until_ready("Local", "Api", "Moderator")
            async with program(*user, *api, "--server", url, env=key) as simulated:
                await _hear(watcher, 6)
                await _stays_silent_while_paused(moderator, watcher)
                await _hear(watcher, 2)
                remote.signal(signal.SIGKILL)
                await watcher.until("presence", name="Api", state="left")
                async with program(*client(url, "Api", *api), env=key) as again:
                    await watcher.until("presence", name="Api", state="joined")
                    assert await simulated.exit(90) == 0
                    moderator.type("Thank you all.")
                    await watcher.until("message", content="Thank you all.")
                    await watcher.until("message", **{"from": "Api"})
                    moderator.type("/quit")
                    assert await moderator.exit() == 0
                    for one in (again, local):
                        one.signal(signal.SIGTERM)
                        assert await one.exit() == 0
            said = watcher.messages()
            hub.signal(signal.SIGTERM)
            assert await hub.exit() == 0
        written = list(from_lines((tmp_path / "logs" / "main.jsonl").read_bytes().splitlines()))
        assert [message.seq for message in written] == list(range(1, len(written) + 1))
        assert [(message.sender, message.content) for message in written][: len(said)] == [
            (message["from"], message["content"]) for message in said
        ]
        assert {message.sender for message in written} == {"Local", "Api", "User", "Moderator"}
        assert all(message.meta and message.meta.get("model") for message in written if message.role == "model")


async def _hear(watcher: Member, count: int) -> None:
    for _ in range(count):
        await watcher.until("message")


async def _stays_silent_while_paused(moderator: Program, watcher: Member) -> None:
    """A2.6, with whole programs: between the pause and the resume nobody but people is heard."""
    moderator.type("/pause")
    await moderator.until("=> paused")
    await watcher.until("floor", paused=True)
    before = len(watcher.messages())
    await asyncio.sleep(1)
    moderator.type("I still may speak.")
    await watcher.until("message", content="I still may speak.")
    assert len(watcher.messages()) == before + 1
    moderator.type("/resume")
    await moderator.until("=> resumed")


@pytest.mark.system
async def test_clients_outlive_a_hub_that_restarts(tmp_path: Path) -> None:
    """A2.8: hub killed and started again: client and moderator reconnect and go on."""
    async with hub_process(tmp_path) as (url, hub):
        port = int(url.rpartition(":")[2])
        scripted = tmp_path / "lines.txt"
        scripted.write_text("one\ntwo\nthree\n")
        bot = client(url, "Bot", "--backend", "scripted", "--model", str(scripted))
        async with program(*bot) as running:
            async with joined(url, "Ann") as ann:
                await ann.until_ready("Bot")
                await ann.say("first")
                assert (await ann.until("message", role="model"))["content"] == "one"
            hub.signal(signal.SIGKILL)
            await hub.exit()
            async with hub_process(tmp_path, port=port) as (again, _), joined(again, "Ann") as ann:
                await ann.until_ready("Bot")
                await ann.say("second")
                assert (await ann.until("message", role="model", content="two"))["seq"] == 4
            running.signal(signal.SIGTERM)
            assert await running.exit() == 0


@pytest.mark.system
async def test_the_demo_runs_to_its_end_and_leaves_no_process(tmp_path: Path) -> None:
    """`make demo` without a terminal: messages, a pause that is silent, a transcript, exit code 0."""
    async with program("-m", "palaver", "demo", "--turns", "6", "--folder", str(tmp_path), "--delay", "0.2") as demo:
        assert await demo.exit(110) == 0, demo.output
    assert "paused for 2 s: not a word" in demo.output
    written = list(from_lines((tmp_path / "main.jsonl").read_bytes().splitlines()))
    assert len(written) >= 7
    assert {"Zen Sage", "TinkerBot", "Curious User", "Moderator"} == {message.sender for message in written}
    assert not await _processes_below(tmp_path)


async def _processes_below(folder: Path) -> str:
    listing = await asyncio.create_subprocess_exec("pgrep", "-af", str(folder), stdout=asyncio.subprocess.PIPE)
    output, _ = await listing.communicate()
    return output.decode()


@pytest.mark.system
async def test_a_hub_logs_where_it_is_told(tmp_path: Path) -> None:
    """A2.1: folders are made, the file has timestamps and no colours; a bad level is exit code 2; a taken port too."""
    log = tmp_path / "a" / "b" / "c.log"
    async with hub_process(tmp_path, "--log-level", "debug", "--log-file", str(log)) as (url, hub):
        async with joined(url, "Ann"):
            pass
        async with program("server.py", "--port", url.rpartition(":")[2], "--data-dir", str(tmp_path / "x")) as second:
            assert await second.exit() == 2
            assert "cannot listen" in second.output
        hub.signal(signal.SIGINT)
        assert await hub.exit() == 0
    text = log.read_text()
    assert "Ann joined main" in text
    assert text[:4].isdigit()
    assert "\x1b" not in text
    async with program("server.py", "--log-level", "LOUD") as wrong:
        assert await wrong.exit() == 2
    async with program("server.py", "--host", "0.0.0.0", cwd=ROOT) as open_hub:
        assert await open_hub.exit() == 2
        assert "PALAVER_TOKEN" in open_hub.output
