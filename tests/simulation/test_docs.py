"""The page on simulation says what runs."""

import re
from pathlib import Path

import pytest
import yaml

from palaver.simulation.metrics import METRICS
from palaver.simulation.personas import Persona
from palaver.simulation.rollout import REASONS

PAGE = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text(encoding="utf-8")


def test_its_python_blocks_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/simulation.md", "exec"), names)
    assert len((tmp_path / "sft.jsonl").read_text().splitlines()) == 8


def test_it_names_every_reason_every_metric_and_only_keys_that_personas_have() -> None:
    for name in (*REASONS, *METRICS):
        assert f"`{name}`" in PAGE
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert Persona.model_validate(yaml.safe_load(block)).name == "Mira"
