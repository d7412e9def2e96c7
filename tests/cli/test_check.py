"""`palaver check`: what it says of good and of bad configs."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from palaver.cli import check, main
from palaver.models import registry
from tests.config.files import QUICK_START, WORKFLOW
from tests.stubs import OpenAIStub


def checked(folder: Path, text: str, arguments: Sequence[str] = ()) -> int:
    path = folder / "palaver.yaml"
    path.write_text(text, encoding="utf-8")
    return main(["check", *arguments, str(path)])


def test_a_good_config_is_told_and_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], openai_stub: OpenAIStub
) -> None:
    """A4.6, A4.18"""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234567890")
    monkeypatch.setenv("OPENAI_BASE_URL", openai_stub.base_url)
    assert checked(tmp_path, QUICK_START, ["-c"]) == 0
    shown = capsys.readouterr()
    assert "model gpt-4o-mini (default): openai gpt-4o-mini: ok" in shown.out
    assert "evaluator llm: on, judged by gpt-4o-mini" in shown.out
    assert "HTTP 0.0.0.0:8000" in shown.out
    assert "sk-1234567890" not in shown.out + shown.err
    assert not openai_stub.requests


def test_a_wrong_config_is_told_with_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A4.3"""
    assert checked(tmp_path, "default_model: nobody\nfoo: 1\n") == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.rpartition("palaver.yaml, ")[2] for line in told] == [
        "line 1: default_model: model 'nobody' is not in models; known: tiny",
        "line 2: foo: unknown key; known: models, default_model, evaluators, plugins, max_turns, action_order, "
        "speaking_order, available_action_types, api, hub, logging, enable_metrics, metrics_port, sync_mode",
    ]


def test_a_model_that_cannot_be_made_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A4.7: an unknown handler is an error of the config."""
    monkeypatch.setenv("YOUR_API_KEY", "k")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    text = WORKFLOW + "      request_handler: defualt\n  gpt:\n    name: gpt-4\n    type: openai\n"
    assert checked(tmp_path, text) == 1
    shown = capsys.readouterr()
    assert "palaver.yaml, line 3: models.mine: custom_config.request_handler 'defualt' is unknown" in shown.err
    assert "palaver.yaml, line 12: models.gpt: no key for gpt-4" in shown.err
    assert "set the environment variable OPENAI_API_KEY" in shown.err
    assert "model mine (default): workflow mine: cannot be used" in shown.out


def test_an_evaluator_that_cannot_be_made_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "models: {m: {name: m, type: scripted, custom_config: {lines: []}}}\n"
    assert checked(tmp_path, text + "evaluators:\n  - type: llm\n  - type: rule_baste\n") == 1
    shown = capsys.readouterr()
    assert "palaver.yaml, line 4: evaluators[1]: evaluator type 'rule_baste' is unknown; known: " in shown.err
    assert "evaluator llm: on" in shown.out
    assert "evaluator rule_baste: cannot be used" in shown.out


def test_plugins_are_imported_before_models_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "palaver_test_plugin.py").write_text(
        "from palaver.models.registry import register_provider\n"
        "from palaver.models.scripted import ScriptedModel\n"
        "register_provider('from_a_plugin', lambda config: ScriptedModel(['x']))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    text = "plugins: [palaver_test_plugin]\nmodels: {m: {name: m, type: from_a_plugin}}\n"
    assert checked(tmp_path, text) == 0
    assert checked(tmp_path, text.replace("palaver_test_plugin", "no_such_plugin")) == 2


def test_a_file_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(tmp_path / "nowhere.yaml")]) == 2
    assert "nowhere.yaml: cannot be read: No such file" in capsys.readouterr().err


def test_what_would_keep_the_server_from_starting_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also of evaluators whose model cannot be made."""
    hub = "hub: {host: 0.0.0.0, tls_cert: nowhere.pem}\n"
    evaluators = "evaluators: [{type: rule_based, config: {max_turn_number: x}}]\n"
    assert checked(tmp_path, "models: {m: {name: m, type: openai, api_base: nowhere}}\n" + hub + evaluators) == 1
    told = capsys.readouterr().err
    assert "palaver.yaml, line 2: hub.host: hub.host 0.0.0.0 is open to other machines" in told
    assert "palaver.yaml, line 2: hub.tls_cert: --tls-cert and --tls-key go together" in told
    assert "palaver.yaml, line 3: evaluators[0]: rule_based: max_turn_number must be a whole number" in told


def test_a_plugin_that_cannot_be_imported_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(tmp_path, "max_turns: 3\nplugins: [no_such_plugin]\n") == 2
    assert "palaver.yaml, line 2: plugin 'no_such_plugin' cannot be imported" in capsys.readouterr().err
