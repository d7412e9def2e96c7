"""From a config to a server: the Python API, the document's scripts, the containers' files."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from palaver.api import create_server
from palaver.api.compose import ConversationFailed
from palaver.config import HubConfig, ModelConfig, ServerConfig
from palaver.core.errors import ConfigError
from palaver.models.registry import register_provider
from palaver.models.scripted import ScriptedModel
from tests.processes import ROOT, program
from tests.stubs import OpenAIStub

AGENTS: list[dict[str, Any]] = [{"name": "Alice", "type": "llm"}, {"name": "Bob", "type": "llm"}]


def config_of(stub: OpenAIStub, **fields: Any) -> ServerConfig:
    """A config whose `gpt-4o-mini` is the stub."""
    model = ModelConfig(name="gpt-4o-mini", type="openai", api_base=stub.base_url, api_key="sk-test", temperature=0)
    parrot = ModelConfig(name="parrot", type="scripted", custom_config={"lines": ["Hello."], "cycle": True})
    return ServerConfig(models={"parrot": parrot, "gpt-4o-mini": model}, **{"hub": {"transcripts": None}, **fields})


async def test_a_conversation_is_held_from_python(openai_stub: OpenAIStub) -> None:
    """A4.13"""
    async with create_server(config_of(openai_stub)) as server:
        episode_log = await server.run_conversation(
            agent_configs=AGENTS, scenario="A friendly conversation", model_name="gpt-4o-mini", max_turns=4
        )
    assert episode_log.reasoning
    assert (episode_log.status, episode_log.turn_count) == ("completed", 4)
    assert len(openai_stub.posts) == 4
    assert {(post["model"], post["temperature"]) for post in openai_stub.posts} == {("gpt-4o-mini", 0)}


async def test_a_model_that_is_away_fails_the_conversation_with_its_reason(openai_stub: OpenAIStub) -> None:
    """A4.5"""
    openai_stub.fail(401, times=100)
    async with create_server(config_of(openai_stub)) as server:
        with pytest.raises(ConversationFailed, match="401"):
            await server.run_conversation(AGENTS, "A friendly conversation", "gpt-4o-mini", 4)


async def test_what_makes_no_sense_is_refused_before_anything_begins(openai_stub: OpenAIStub) -> None:
    async with create_server(config_of(openai_stub)) as server:
        with pytest.raises(ConfigError, match=r"agent_configs.0.name"):
            await server.run_conversation([{"name": ""}])


async def test_a_rule_of_the_config_ends_a_conversation(openai_stub: OpenAIStub) -> None:
    """A4.10"""
    config = config_of(openai_stub, evaluators=[{"type": "rule_based", "config": {"max_turn_number": 3}}])
    async with create_server(config) as server:
        assert (await server.run_conversation(AGENTS, max_turns=10)).turn_count == 3


async def test_a_conversation_that_is_given_up_leaves_nobody_in_its_room(openai_stub: OpenAIStub) -> None:
    openai_stub.hang = True
    async with create_server(config_of(openai_stub)) as server:
        running = asyncio.create_task(server.run_conversation(AGENTS, model_name="gpt-4o-mini"))
        await asyncio.to_thread(openai_stub.wait_for_requests)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert server.service.conversations.running == 0
        record = (await server.service.conversations.latest(limit=1, offset=0, status=None))[0]
        assert record.status == "cancelled"


async def test_an_unknown_type_of_model_is_an_error_at_the_start() -> None:
    config = ServerConfig(models={"odd": ModelConfig(name="odd", type="oddity")})
    with pytest.raises(ConfigError, match=r"models.odd: type 'oddity' is unknown"):
        async with create_server(config):
            pass


async def test_an_unknown_evaluator_is_an_error_at_the_start(openai_stub: OpenAIStub) -> None:
    config = config_of(openai_stub, evaluators=[{"type": "astrologer"}])
    with pytest.raises(ConfigError, match=r"evaluators\[0\]: evaluator type 'astrologer' is unknown; known: rule"):
        async with create_server(config):
            pass


async def test_a_plugin_of_the_config_is_imported_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_plugin.py").write_text("raise ImportError('no such thing')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = ServerConfig(plugins=["my_plugin"])
    with pytest.raises(ConfigError, match="'my_plugin' cannot be imported: ImportError: no such thing"):
        async with create_server(config):
            pass


async def test_registered_providers_serve_conversations() -> None:
    """A4.7"""
    model = ScriptedModel(["Registered."], cycle=True)
    register_provider("mine", lambda config: model)
    config = ServerConfig(models={"m": ModelConfig(name="m", type="mine")}, hub=HubConfig(transcripts=None))
    async with create_server(config) as server:
        log = await server.run_conversation(AGENTS, max_turns=2)
    assert [message.content for message in log.messages if message.role == "model"] == ["Registered."] * 2


@pytest.mark.system
async def test_the_documents_scripts_succeed_against_an_endpoint(openai_stub: OpenAIStub, tmp_path: Path) -> None:
    """A4.18"""
    model = {"name": "gpt-4o-mini", "type": "openai", "api_base": openai_stub.base_url, "api_key": "sk-test"}
    settings = {
        "models": {"gpt-4o-mini": model},
        "api": {"port": 0},
        "enable_metrics": False,
        "hub": {"port": 0, "data_dir": str(tmp_path / "data"), "transcripts": None},
    }
    config = tmp_path / "palaver.yaml"
    config.write_text(json.dumps(settings), encoding="utf-8")
    path = str(config)
    async with program("-m", "palaver.api", "-c", path) as server:
        url = (await server.until(r"Palaver API: (http://\S+)"))[1]
        async with program("examples/check_health.py", "--url", url) as health:
            assert await health.exit() == 0, health.output
            assert "gpt-4o-mini (openai): not used yet" in health.output
    assert not openai_stub.posts
    demo = ("examples/run_demo.py", "--agents", "Alice", "Bob", "--model", "gpt-4o-mini", "--turns", "2", "-c", path)
    async with program(*demo) as running:
        assert await running.exit() == 0, running.output
        assert "Conversation completed: " in running.output
    async with program("examples/check_health.py", "--url", url) as gone:
        assert await gone.exit() == 1


def test_the_containers_files_name_the_ports_and_an_ordinary_user() -> None:
    """A4.19"""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "EXPOSE 8000 8765 9090" in dockerfile
    assert dockerfile.count("\nUSER 10001\n") == 2
    assert "HEALTHCHECK" in dockerfile
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["palaver"]
    assert [port.rsplit(":", 1)[1] for port in service["ports"]] == ["8000", "8765", "9090"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    copied = [line.split()[1] for line in dockerfile.splitlines() if line.startswith("COPY prompts")]
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.system
@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["hadolint"], "Dockerfile"),
        (["check-jsonschema", "--builtin-schema", "vendor.compose-spec"], "compose.yaml"),
    ],
    ids=["hadolint", "compose-spec"],
)
def test_the_containers_files_have_no_fault_that_their_linters_know(command: list[str], file: str) -> None:
    """A4.19"""
    tool = shutil.which(command[0], path=str(Path(sys.executable).parent))
    if tool is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs a linter: pip install 'palaver[test]'")
    done = subprocess.run([tool, *command[1:], str(ROOT / file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_the_dashboard_asks_for_metrics_that_there_are(openai_stub: OpenAIStub) -> None:
    async with create_server(config_of(openai_stub)) as server:
        text = server.service.metrics.text()
    known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    known |= {f"{name}_bucket" for name in known}
    dashboard = (ROOT / "examples" / "grafana.json").read_text(encoding="utf-8")
    assert set(re.findall(r"palaver_\w+", dashboard)) <= known
