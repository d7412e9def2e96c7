"""Every config among the examples can be used, and the script that says so runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from palaver.config import ConfigManager
from palaver.models.registry import create_model, provider_types
from palaver.models.workflow import WorkflowProvider
from palaver.plugins import import_modules
from tests.processes import ROOT
from tests.stubs import HTTPStub

EXAMPLES = ROOT / "examples"
KEYS = {
    "OPENAI_API_KEY": "sk-test",
    "ANTHROPIC_API_KEY": "sk-test",
    "TOGETHER_API_KEY": "sk-test",
    "AZURE_API_KEY": "sk-test",
    "AZURE_API_VERSION": "2024-10-21",
    "API_KEY": "sk-test",
    "SFT_API_KEY": "sk-test",
}
CONFIGS = sorted(path for path in EXAMPLES.glob("*.yaml") if "models" in (yaml.safe_load(path.read_text()) or {}))


def test_there_is_a_config_for_each_documented_provider() -> None:
    named = {model["type"] for path in CONFIGS for model in yaml.safe_load(path.read_text())["models"].values()}
    assert named == {
        "openai",
        "anthropic",
        "together",
        "vllm",
        "ollama",
        "azure",
        "hf",
        "scripted",
        "workflow",
        "litellm",
    }
    assert named <= set(provider_types())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_example_can_be_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4.3"""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(EXAMPLES)
    config = ConfigManager(path).load_config()
    import_modules(config.plugins)
    for model in config.models.values():
        assert create_model(model).name == model.name


@pytest.mark.system
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_script_says_that_it_can_be_used(path: Path) -> None:
    """A4.18"""
    command = [sys.executable, str(EXAMPLES / "check_config.py"), str(path)]
    done = subprocess.run(
        command, cwd=EXAMPLES, env={**os.environ, **KEYS}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be used" not in done.stdout
    assert "sk-test" not in done.stdout


async def test_the_ensemble_of_the_example_lets_the_surest_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import_modules(["workflow_handlers"])
    routes = {"/a": lambda body: {"text": "a", "confidence": 0.3}, "/b": lambda body: {"text": "b"}}
    with HTTPStub(routes) as stub:
        models = [{"name": name, "url": f"{stub.url}/{name}"} for name in "ab"]
        config = {"request_handler": "ensemble", "response_parser": "ensemble", "models": models}
        response = await WorkflowProvider("e", config).generate("x")
    assert (response.content, response.metadata["selected_model"]) == ("b", "b")
