"""Personas from YAML."""

from pathlib import Path

import pytest

from palaver.core.errors import ConfigError
from palaver.simulation import end_signals, personas


def written(folder: Path, text: str) -> Path:
    """A file with this text."""
    path = folder / "persona.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_in_the_file_is_in_the_instructions(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "name: Mira\ngoal: book a table for two\ntraits: [shy, exact]\nknowledge: no French\npatience: 4\n"
        "style: short sentences\nfirst_message: Hello?\n",
    )
    persona = personas.load(path)
    prompt = persona.system_prompt()
    for words in ("Mira", "book a table for two", "- shy", "- exact", "- no French", "4 messages", "short sentences"):
        assert words in prompt
    assert persona.first_message == "Hello?"
    assert end_signals.find(prompt) is not None
    assert "JSON" not in prompt


def test_a_goal_is_enough_and_json_is_asked_for_on_demand(tmp_path: Path) -> None:
    prompt = personas.load(written(tmp_path, "goal: rest\njson_replies: true")).system_prompt()
    assert "What you want: rest" in prompt and '"current_answer"' in prompt


def test_the_personas_that_are_shipped_can_be_read() -> None:
    files = sorted((Path(__file__).parents[2] / "examples" / "personas").glob("*.yaml"))
    assert files and all(personas.load(file).goal for file in files)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("goal: x\nmood: bad", "mood: Extra inputs are not permitted; known keys: name, goal"),
        ("name: x", "goal: Field required"),
        ("goal: x\npatience: 0", "patience"),
        ("- goal", "must hold keys and values"),
        ("goal: [", "is no YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_key(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=told) as caught:
        personas.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the persona"):
        personas.load(tmp_path / "nobody.yaml")
