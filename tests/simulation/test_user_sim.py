"""`user_sim.py` as a process: a persona, its turns, its record."""

import asyncio
from pathlib import Path

import pytest

from palaver.core.protocol import Join
from palaver.models.scripted import ScriptedModel
from palaver.participants.link import Link
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings
from palaver.simulation import records
from tests.hubs import joined, running
from tests.processes import program

pytestmark = pytest.mark.system


@pytest.mark.parametrize(("lines", "said", "reason"), [(5, 3, "max_turns"), (1, 2, "user_stop")])
async def test_it_takes_its_turns_with_an_assistant_leaves_and_keeps_a_record(
    tmp_path: Path, lines: int, said: int, reason: str
) -> None:
    """A0.12: the roles and turns of a rollout over the wire, exit code 0 after them."""
    script, persona, record = tmp_path / "lines.txt", tmp_path / "mira.yaml", tmp_path / "rollouts.jsonl"
    script.write_text("\n".join([*[f"question {n}" for n in range(2, 2 + lines)], "Thanks, bye. [END]"]))
    persona.write_text("name: Mira\ngoal: learn about tea\nfirst_message: question 1\n")
    async with running() as hub, joined(hub.url, "Watcher", "observer") as watcher:
        async with Link(hub.url, Join(name="Bot", role="model")) as link:
            bot = asyncio.create_task(Participant(link, Settings(), ScriptedModel(["answer"], cycle=True)).run())
            flags = ["--backend", "scripted", "--model", str(script), "--persona", str(persona), "--max-turns", "3"]
            async with program("user_sim.py", "--server", hub.url, *flags, "--record", str(record)) as user:
                assert await user.exit() == 0, user.output
            await watcher.until("presence", state="left", name="Mira")
            bot.cancel()
            await asyncio.gather(bot, return_exceptions=True)
        heard = [(message["from"], message["content"]) for message in watcher.messages()]
    (rollout,) = records.load(record)
    assert heard[:4] == [("Mira", "question 1"), ("Bot", "answer"), ("Mira", "question 2"), ("Bot", "answer")]
    mine = [message["content"] for message in rollout if message["role"] == "user"]
    assert mine == [content for sender, content in heard if sender == "Mira"]
    assert rollout.termination_reason == reason, (rollout.user_turns, user.output)
    if reason == "max_turns":
        assert len(mine) == said and rollout[-1]["role"] == "assistant"
    else:
        assert mine[-1] == "Thanks, bye." and rollout.user_turns[-1].signal == "[END]"
