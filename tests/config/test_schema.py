"""What a config may say, what holds otherwise, and what of it is shown."""

import argparse
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from palaver.cli import server
from palaver.config import ConfigManager, EvaluatorConfig, HubConfig, LimitsConfig, ModelConfig, ServerConfig
from palaver.core.errors import ConfigError
from tests.config.files import QUICK_START, WORKFLOW, manager


def test_the_documents_quick_start_is_understood(tmp_path: Path) -> None:
    config = manager(tmp_path, QUICK_START).load_config()
    assert list(config.models) == ["gpt-4o-mini"]
    assert config.models["gpt-4o-mini"].type == "openai"
    assert config.default_model == "gpt-4o-mini"
    assert [each.type for each in config.evaluators] == ["rule_based", "llm"]
    assert config.evaluators[0].config == {"max_turn_number": 20}
    assert (config.api.host, config.api.port) == ("0.0.0.0", 8000)
    assert (config.max_turns, config.enable_metrics, config.metrics_port) == (20, True, 9090)


def test_an_unknown_default_model_is_named(tmp_path: Path) -> None:
    """A4.3"""
    text = QUICK_START.replace("default_model: gpt-4o-mini", "default_model: gpt-5")
    with pytest.raises(ConfigError, match=r"line 7: default_model: model 'gpt-5' is not in models; known: gpt-4o-mini"):
        manager(tmp_path, text).load_config()


def test_an_evaluators_unknown_model_is_named_where_it_stands(tmp_path: Path) -> None:
    text = QUICK_START.replace("    model: gpt-4o-mini", "    model: gpt-5")
    with pytest.raises(ConfigError, match=r"line 16: evaluators\[1\].model: model 'gpt-5' is not in models"):
        manager(tmp_path, text).load_config()


def test_the_first_model_is_the_default_one() -> None:
    models = {name: ModelConfig(name=name, type="openai") for name in ("b", "a")}
    assert ServerConfig(models=models).default_model == "b"


def test_any_evaluator_type_may_be_named() -> None:
    """A4.12"""
    assert EvaluatorConfig(type="my_evaluator", config={"threshold": 0.7}).enabled


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("max_turns: 0", "max_turns: input should be greater than or equal to 1, not 0"),
        ("action_order: wild", "action_order: input should be 'simultaneous', 'round-robin'"),
        ("available_action_types: [fly]", r"available_action_types\[0\]: input should be 'none', 'speak'"),
        ("speaking_order: [0, 2]", r"speaking_order: \[0, 2\] does not name each agent once"),
        ("logging: {level: LOUD}", "logging.level: input should be 'DEBUG'"),
        ("logging: {max_file_size: big}", "logging.max_file_size: 'big' is no size; write 10MB"),
        ("api2: {port: 1}", "api2: unknown key; do you mean api?"),
        ("models: {}", "models: dictionary should have at least 1 item"),
        ("models: {m: {type: openai}}", "models.m.name: is missing"),
        ("models: {m: {name: x, type: openai, temperature: -1}}", "models.m.temperature: input should be greater"),
        ("models: {m: {name: x, type: openai, frobnicate: 1}}", "models.m.frobnicate: unknown key; known: name, type"),
        ("models: {name: {name: x, type: openai, typ: 1}}", "models.name.typ: unknown key; do you mean type?"),
        ("evaluators: [{type: llm, modle: x}]", r"evaluators\[0\].modle: unknown key; do you mean model?"),
        ("hub: {prot: 1}", "hub.prot: unknown key; do you mean port?"),
        ("hub: {policy: chaos}", "hub.policy: floor policy 'chaos' is unknown; known: open"),
        ("api: {rate_limit: often}", "api.rate_limit: 'often' is no rate; write 100/minute"),
        ("api: {rate_limit: 00/minute}", "api.rate_limit: '00/minute' is no rate"),
        ("api: {port: true}", "api.port: must be a number, not true"),
        ("api: {cors_origins: [chat.example]}", r"api.cors_origins\[0\]: 'chat.example' is no origin; give scheme"),
        ("hub: {origins: ['*']}", r"hub.origins\[0\]: '\*' is no origin; give scheme"),
        ("max_turns: 1001", "max_turns: input should be less than or equal to 1000"),
        ("logging: {format: '%(nope)s'}", "logging.format: '%.nope.s' is no format of log lines"),
        ("logging: {format: '%(name)d'}", "logging.format: '%.name.d' is no format of log lines"),
        ("api: 5", "api: must be settings, `key: value`, not 5"),
    ],
)
def test_what_cannot_be_is_said_with_line_and_key(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"palaver.yaml, line 2: {said}"):
        manager(tmp_path, f"# a comment\n{line}\n").load_config()


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        manager(tmp_path, "max_turns: 0\nmetrics_port: -1\nfoo: 1\n").load_config()
    assert [line.partition(": ")[0][-6:] for line in str(caught.value).splitlines()] == ["line 1", "line 2", "line 3"]


def test_a_heading_with_nothing_under_it_says_nothing(tmp_path: Path) -> None:
    assert manager(tmp_path, "evaluators:\napi:\n  # port: 1\n").load_config() == ServerConfig()


@pytest.mark.parametrize(("text", "rate"), [("100/minute", (100, 60.0)), ("5 / second", (5, 1.0)), ("", None)])
def test_a_rate_is_a_count_in_so_many_seconds(text: str, rate: object) -> None:
    assert ServerConfig.model_validate({"api": {"rate_limit": text}}).api.rate() == rate


def test_sizes_may_have_units() -> None:
    sizes = [ServerConfig.model_validate({"logging": {"max_file_size": size}}) for size in ("10MB", "1 KiB", 7)]
    assert [each.logging.max_file_size for each in sizes] == [10_000_000, 1024, 7]


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """A4.6"""
    text = WORKFLOW.replace("    type: workflow", "    type: workflow\n    api_key: sk-literal")
    text += (
        "      password: hunter22\n      backup: https://me:pw77@host/x?sig=s1g\nhub: {token: t0ken, secret: s1gns}\n"
    )
    config = manager(tmp_path, text, {"YOUR_API_KEY": "k-12345678", "HOST": "inner.example"}).load_config()
    shown = [config, config.models, config.models["mine"], config.public(), config.model_dump_json(), config.hub]
    for secret in ("k-12345678", "sk-literal", "hunter22", "pw77", "s1g", "t0ken", "s1gns"):
        assert not [each for each in shown if secret in f"{each!r} {each!s}"], secret
    public: Any = config.public()["models"]["mine"]
    assert public["custom_config"]["headers"]["Authorization"] == "Bearer ${YOUR_API_KEY}"
    assert public["custom_config"]["endpoint"] == "https://${HOST:-api.example.com}/generate"
    assert public["api_key"] == "***"
    assert config.public()["hub"]["token"] == "***"
    assert config.public()["models"]["mine"]["max_tokens"] is None


def test_an_error_does_not_show_the_secret_that_is_wrong(tmp_path: Path) -> None:
    text = "models: {m: {name: x, type: openai, api_key: [sk-12345678]}}"
    with pytest.raises(ConfigError) as caught:
        manager(tmp_path, text).load_config()
    assert "api_key" in str(caught.value)
    assert "sk-1" not in str(caught.value)


def test_a_wrong_assignment_is_refused() -> None:
    config = ServerConfig()
    with pytest.raises(ValidationError):
        config.max_turns = 0


def test_the_hubs_settings_are_the_servers_flags() -> None:
    """One place for defaults: what `palaver server` does without a flag, a config without a hub section does."""
    flags = {action.dest: action for action in server.parser()._actions}
    renamed = {"origins": "origin", "transcripts": "transcripts"}
    hub = HubConfig()
    for name in HubConfig.model_fields:
        if name in ("moderator_token", "secret"):  # from the environment only
            continue
        if name == "limits":
            assert hub.limits.model_dump() == {limit: flags[limit].default for limit in LimitsConfig.model_fields}
            continue
        flag = flags[renamed.get(name, name)]
        assert isinstance(flag, argparse.Action)
        default = flag.default if not isinstance(flag.default, Path) else str(flag.default)
        assert getattr(hub, name) == default, name


def test_without_a_file_the_model_that_comes_along_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = ConfigManager(environ={}).load_config()
    assert config.models[config.default_model].type == "hf"


def test_pages_are_known_as_browsers_say_them(tmp_path: Path) -> None:
    """With a slash at the end, or the usual port, no browser's `Origin` would ever be the same."""
    config = manager(tmp_path, "api: {cors_origins: ['https://Chat.example:443/', '*']}\n").load_config()
    assert config.api.cors_origins == ["https://chat.example", "*"]
