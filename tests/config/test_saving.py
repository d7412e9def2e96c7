"""What is changed in a config is there when it is read again; what is not changed reads as it was written."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from palaver.config import ConfigManager, EvaluatorConfig, ModelConfig, ServerConfig
from palaver.config.saving import merged

ENVIRON = {"A_API_KEY": "secret-a-1", "B": "plain", "PORT": "8123"}
FILE = """\
models:
  a: {name: a, type: openai, api_key: "${A_API_KEY}", temperature: 0}
  b:
    name: ${B}
    type: workflow
    custom_config:
      n: ${PORT}
      endpoint: "http://${B}/x"
      headers: {Authorization: "Bearer ${A_API_KEY}"}
evaluators:
  - {type: rule_based, config: {max_turn_number: 3}}
  - {type: llm, model: a, config: {note: "${B}"}}
api: {port: "${PORT}", host: 127.0.0.1}
logging: {max_file_size: 10MB}
"""

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("port"), st.integers(0, 65535)),
        st.tuples(st.just("temperature"), st.floats(0, 5)),
        st.tuples(st.just("custom"), st.dictionaries(texts, values, max_size=3)),
        st.tuples(st.just("evaluator"), st.dictionaries(texts, values, max_size=2)),
        st.tuples(st.just("drop"), st.integers(0, 3)),
        st.tuples(st.just("model"), texts.filter(bool)),
        st.tuples(st.just("file_path"), st.none() | texts),
    ),
    max_size=6,
)


def changed(config: ServerConfig, kind: str, value: Any) -> None:
    match kind:
        case "port":
            config.api.port = value
        case "temperature":
            config.models["b"].temperature = value
        case "custom":
            config.models["b"].custom_config |= value
        case "evaluator":
            config.evaluators.append(EvaluatorConfig(type="mine", config=value))
        case "drop":
            del config.evaluators[value:]
        case "model":
            config.models[f"x{value}"] = ModelConfig(name=value, type="scripted")
        case "file_path":
            config.logging.file_path = value


def hidden(config: ServerConfig) -> bool:
    """Whether it has a literal secret now, which saving refuses."""
    from palaver.config.loading import leaves
    from palaver.config.masking import is_secret

    dump = config.model_dump()
    return any(
        is_secret(path) and isinstance(leaf, str) and leaf and "secret-a-1" not in leaf for path, leaf in leaves(dump)
    )


@settings(max_examples=60, deadline=None)
@given(changes)
def test_a_saved_config_reads_as_it_was(steps: list[tuple[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "palaver.yaml"
        path.write_text(FILE, encoding="utf-8")
        held = ConfigManager(path, environ=ENVIRON)
        config = held.load_config()
        for kind, value in steps:
            changed(config, kind, value)
        if hidden(config):
            return
        text = held.save_config(config).read_text(encoding="utf-8")
        assert "secret-a-1" not in text
        assert ConfigManager(path, environ=ENVIRON).load_config().model_dump() == config.model_dump()


def test_what_was_not_changed_reads_as_it_was_written() -> None:
    raw = yaml.safe_load(FILE)
    before = {"models": {"a": {"temperature": 0.0}}, "api": {"port": 8123, "host": "127.0.0.1"}, "max_turns": 20}
    now = {**before, "api": {"port": 8123, "host": "0.0.0.0"}}
    said = merged(raw, before, now, ENVIRON)
    assert said == {"models": raw["models"], "api": {"port": "${PORT}", "host": "0.0.0.0"}}
