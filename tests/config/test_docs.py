"""docs/configuration.md says what is so."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic_core import PydanticUndefined

from palaver.config import SEARCH_PATH, ConfigManager, ModelConfig
from palaver.config.layers import variable_names
from palaver.models import providers
from palaver.models.registry import create_model, provider_types
from tests.config.files import manager
from tests.processes import ROOT
from tests.seeds import run

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_its_example_is_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    config = manager(tmp_path, found[1], {"MY_API_KEY": "k"}).load_config()
    assert config.models["mine"].custom_config["endpoint"] == "http://127.0.0.1:9000/generate"
    assert [create_model(model).name for model in config.models.values()] == list(config.models)


def test_its_script_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    monkeypatch.chdir(ROOT)
    run(found[1])
    assert capsys.readouterr().out == "Good evening.\n"


def test_its_table_of_a_models_keys_is_the_schema() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\|", PAGE.partition("table:models")[2], re.MULTILINE))
    for name, field in ModelConfig.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default in (None, PydanticUndefined) else str(default)
        assert rows[name] == shown, name


def test_it_names_every_provider_and_every_place() -> None:
    for name in provider_types():
        assert f"`{name}`" in PAGE, name
    for name in ("openai", "anthropic", "together", "vllm"):
        known = providers.PROVIDERS[name]
        assert re.search(rf"^\| `{name}` \| `{known.base_url}`.*\| `{known.key_env}`", PAGE, re.MULTILINE), name
    for path in SEARCH_PATH:
        assert f"`{path}`" in PAGE


def test_the_variables_it_names_are_read(tmp_path: Path) -> None:
    named = set(re.findall(r"`(PALAVER_[A-Z_]+[A-Z])`", PAGE))
    assert len(named) == 6
    assert named <= set(variable_names())
    path = tmp_path / "palaver.yaml"
    path.write_text(yaml.safe_dump({"max_turns": 2}), encoding="utf-8")
    assert ConfigManager(path, environ={"PALAVER_MAX_TURNS": "3"}).load_config().max_turns == 3
