"""Every YAML block of the document behind the server is a config."""

import re
from pathlib import Path

import pytest
import yaml

from palaver.models.handlers import DefaultRequestHandler, DefaultResponseParser
from palaver.models.registry import create_model
from palaver.models.workflow import WorkflowProvider
from tests.config.files import QUICK_START, manager
from tests.seeds import blocks, run

TEXT = (Path(__file__).parent / "document.txt").read_text(encoding="utf-8")
BLOCKS = [
    block for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE) if "services:" not in block
]
VARIABLES = {
    name: f"key-of-{name.lower()}"
    for name in ("YOUR_API_KEY", "API_KEY", "SFT_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TOGETHER_API_KEY")
} | {"AZURE_API_KEY": "key-of-azure", "AZURE_API_VERSION": "2024-10-21"}
MODELS = "models: {gpt-4o-mini: {name: gpt-4o-mini, type: openai}}\n"


def test_all_of_them_are_there() -> None:
    assert len(BLOCKS) == 14
    assert sum("models" in yaml.safe_load(block) for block in BLOCKS) == 11


@pytest.mark.parametrize("block", BLOCKS)
def test_it_is_understood_and_its_models_can_be_made(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4.3"""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        WorkflowProvider, "_handlers", {**WorkflowProvider._handlers, "my_custom": DefaultRequestHandler}
    )
    monkeypatch.setattr(WorkflowProvider, "_parsers", {**WorkflowProvider._parsers, "my_custom": DefaultResponseParser})
    text = block if "models" in yaml.safe_load(block) else MODELS + block
    config = manager(tmp_path, text, VARIABLES).load_config()
    written = yaml.safe_load(block)
    assert set(config.models) == set(written.get("models", {"gpt-4o-mini": None}))
    for name, model in config.models.items():
        assert create_model(model).name == model.name
        assert model.temperature == written.get("models", {}).get(name, {}).get("temperature", 0.7)
    assert "key-of" not in f"{config!r}{config.public()}"


def test_the_documents_manager_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A4.20"""
    block = blocks("004")[12]
    named = re.search(r'Path\("([^"]+)"\)', block)
    assert named is not None
    path = tmp_path / named[1]
    path.parent.mkdir()
    path.write_text(QUICK_START, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run(block)
    assert capsys.readouterr().out == "Models: ['gpt-4o-mini']\nDefault model: gpt-4o-mini\n"
    assert path.read_text(encoding="utf-8") == QUICK_START
