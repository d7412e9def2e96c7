"""`user_sim.py`: its flags and instructions, and a whole process behind an OpenAI-compatible endpoint."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from palaver.cli import user_sim
from palaver.cli.backends import Backend
from palaver.core.errors import ConfigError
from palaver.models.scripted import ScriptedModel
from palaver.simulation.user_models import UserModel
from tests.hubs import joined, running
from tests.participants.test_participant import sitting
from tests.processes import program
from tests.stubs.openai_stub import OpenAIStub

PERSONA = "name: Mira\ngoal: find a tea\nfirst_message: Good morning.\nend_signal: '###BYE###'\n"


def flags(*arguments: str) -> Any:
    return user_sim.parser().parse_args(arguments)


def instructions(*arguments: str) -> str:
    told = flags(*arguments)
    persona, name, signals = user_sim._who(told)
    return user_sim._instructions(told, persona, name, signals)


def test_its_flags_have_the_documented_names() -> None:
    named = "--name --model --api-base --prompt-file --persona --history-length --delay --max-turns --temperature"
    text = user_sim.parser().format_help()
    assert all(flag in text for flag in [*named.split(), "--end-signal", "--first-message", "--backend", "--server"])


def test_a_persona_names_the_user_and_its_own_end_signal(tmp_path: Path) -> None:
    path = tmp_path / "mira.yaml"
    path.write_text(PERSONA)
    _, name, signals = user_sim._who(flags("--persona", str(path)))
    assert name == "Mira" and signals[0] == "###BYE###" and "[END]" in signals
    assert user_sim._who(flags("--persona", str(path), "--name", "Uma", "--end-signal", "STOP"))[1:] == (
        "Uma",
        ("STOP",),
    )
    path.write_text("gaol: find a tea\n")
    with pytest.raises(ConfigError, match="gaol"):
        user_sim._who(flags("--persona", str(path)))


def test_every_user_is_told_how_to_end_and_told_once() -> None:
    assert instructions("--prompt-file", "curious_user").count("[END]") == 1
    assert "write STOP at the end" in instructions("--end-signal", "STOP")
    assert "You are Uma" in instructions("--name", "Uma")


class Parrot(UserModel):
    """A user model of somebody's own, for `module:object`."""

    def generate(self, messages: Any) -> str:
        return "again"


async def test_a_user_model_of_the_users_own_gets_the_instructions() -> None:
    told = flags("--backend", f"{__name__}:Parrot")
    user = await user_sim._user(told, Backend(told, default="openai"), "You are Uma.")
    assert isinstance(user, Parrot) and user.system_prompt == "You are Uma."


@pytest.mark.system
async def test_it_talks_through_an_endpoint_with_the_key_of_the_environment(tmp_path: Path) -> None:
    """A0.12, A0.4: roles swapped on the wire, the key sent, the end signal obeyed, exit code 0."""
    with OpenAIStub(["What is tea?", "And milk?", "Thank you. [END]"], api_key="k-123") as stub:
        async with running() as hub, joined(hub.url, "Ann", deltas=False) as ann, sitting(hub.url, _bot()):
            sim = ("user_sim.py", "--name", "Uma", "--model", "stub-model", "--api-base", stub.base_url)
            record = tmp_path / "rollouts.jsonl"
            more = ("--server", hub.url, "--temperature", "0.2", "--record", str(record))
            async with program(*sim, *more, env={"OPENAI_API_KEY": "k-123"}) as running_:
                assert await running_.exit() == 0
            assert "k-123" not in running_.output
            assert "Uma leaves: ended the conversation with [END]" in running_.output
            await ann.until("presence", name="Uma", state="left")
        said = [each["content"] for each in ann.messages() if each["role"] == "user_sim"]
        assert said == ["What is tea?", "And milk?", "Thank you."]
        bodies = [post.json() if hasattr(post, "json") else post for post in stub.posts]
        assert [message["role"] for message in bodies[1]["messages"]] == ["system", "assistant", "user"]
        assert bodies[1]["temperature"] == 0.2


@pytest.mark.system
async def test_a_missing_key_is_told_with_the_variables_name() -> None:
    async with program("user_sim.py", "--server", "ws://127.0.0.1:9", env={"OPENAI_API_KEY": ""}) as running_:
        assert await running_.exit() == 1
    assert "OPENAI_API_KEY" in running_.output and "Traceback" not in running_.output


def _bot() -> ScriptedModel:
    return ScriptedModel([f"answer {number}" for number in range(9)])


@pytest.mark.system
async def test_a_user_whose_name_is_taken_does_not_exit_with_0(tmp_path: Path) -> None:
    """A2.7"""
    script = tmp_path / "lines.txt"
    script.write_text("hello\n")
    async with running() as hub, joined(hub.url, "User"):
        sim = ("user_sim.py", "--backend", "scripted", "--model", str(script), "--server", hub.url)
        async with asyncio.timeout(60), program(*sim) as running_:
            assert await running_.exit() == 1
    assert "already taken" in running_.output


@pytest.mark.system
async def test_a_record_that_cannot_be_written_is_told_before_the_conversation(tmp_path: Path) -> None:
    async with program("user_sim.py", "--server", "ws://127.0.0.1:9", "--record", str(tmp_path)) as running_:
        assert await running_.exit() == 1
    assert f"cannot add to {tmp_path}: Is a directory" in running_.output and "Traceback" not in running_.output
