"""Finding, reading again and saving: real files."""

import stat
from pathlib import Path

import pytest
import yaml

from palaver.config import ConfigManager, ModelConfig
from palaver.core.errors import ConfigError
from tests.config.files import QUICK_START, WORKFLOW, manager

KEY = "sk-1234567890"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_first_file_of_the_search_path_holds(home: Path) -> None:
    for name in ("home/.config/palaver/config.yaml", "palaver.yaml", "config/palaver.yaml"):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"metrics_port: {len(name)}\n", encoding="utf-8")
        assert ConfigManager(environ={}).load_config().metrics_port == len(name)


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.yaml: cannot be read: No such file"):
        ConfigManager(tmp_path / "nowhere.yaml").load_config()


def test_a_party_s_file_is_known_as_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"palaver.yaml is a party's file: palaver up .*palaver.yaml starts it"):
        manager(tmp_path, "server: {port: 1}\nclients: []\n").load_config()


def test_flag_outranks_environment_outranks_file_outranks_default(tmp_path: Path) -> None:
    held = manager(tmp_path, "api: {port: 2}\nmax_turns: 2\nmetrics_port: 2\n", {"PALAVER_API_PORT": "3"})
    environ = {"PALAVER_API_PORT": "3", "PALAVER_MAX_TURNS": "3", "PALAVER_API_CORS_ORIGINS": "http://a, http://b"}
    held = ConfigManager(held.path, environ=environ)
    config = held.load_config({"api.port": 4, "api.host": None})
    assert (config.api.port, config.max_turns, config.metrics_port, config.api.host) == (4, 3, 2, "127.0.0.1")
    assert config.api.cors_origins == ["http://a", "http://b"]
    assert str(held.origin("api", "port")) == "flag --port"
    assert str(held.origin("max_turns")) == "environment variable PALAVER_MAX_TURNS"
    assert str(held.origin("metrics_port")).endswith("palaver.yaml, line 3")


def test_the_hubs_tokens_come_from_the_same_variables_as_the_servers(tmp_path: Path) -> None:
    environ = {"PALAVER_TOKEN": "t-everybody", "PALAVER_MODERATOR_TOKEN": "t-moderator"}
    held = manager(tmp_path, QUICK_START, environ)
    config = held.load_config()
    assert (config.hub.token, config.hub.moderator_token) == ("t-everybody", "t-moderator")
    config.max_turns = 7
    assert "t-" not in held.save_config(config).read_text(encoding="utf-8").replace("gpt-", "")


def test_a_wrong_variable_or_flag_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"environment variable PALAVER_API_PORT: api.port: .*not 'many'"):
        manager(tmp_path, QUICK_START, {"PALAVER_API_PORT": "many"}).load_config()
    with pytest.raises(ConfigError, match=r"flag --port: api.port: .*not 70000"):
        manager(tmp_path, QUICK_START).load_config({"api.port": 70000})


def test_saving_keeps_the_placeholder_and_not_the_key(tmp_path: Path) -> None:
    """A4.2"""
    held = manager(tmp_path, WORKFLOW, {"YOUR_API_KEY": KEY})
    config = held.load_config()
    assert config.models["mine"].custom_config["headers"]["Authorization"] == f"Bearer {KEY}"
    config.max_turns = 5
    config.models["mine"].temperature = 0.0
    text = held.save_config(config).read_text(encoding="utf-8")
    assert KEY not in text
    assert "Bearer ${YOUR_API_KEY}" in text
    assert "${HOST:-api.example.com}" in text
    again = ConfigManager(held.path, environ={"YOUR_API_KEY": KEY}).load_config()
    assert again == config


def test_saving_writes_what_was_changed_and_nothing_else(tmp_path: Path) -> None:
    held = manager(tmp_path, QUICK_START)
    config = held.load_config()
    config.api.port = 8001
    config.logging.level = "DEBUG"
    held.save_config(config)
    expected = yaml.safe_load(QUICK_START)
    expected["api"]["port"] = 8001
    expected["logging"] = {"level": "DEBUG"}
    assert yaml.safe_load(held.path.read_text(encoding="utf-8")) == expected  # type: ignore[union-attr]


def test_a_file_whose_meaning_stays_is_not_touched(tmp_path: Path) -> None:
    held = manager(tmp_path, WORKFLOW, {"YOUR_API_KEY": KEY})
    held.save_config(held.load_config())
    assert held.path is not None
    assert held.path.read_text(encoding="utf-8") == WORKFLOW


def test_what_only_a_flag_or_a_variable_said_is_not_saved(tmp_path: Path) -> None:
    held = manager(tmp_path, QUICK_START, {"PALAVER_MAX_TURNS": "3"})
    config = held.load_config({"api.port": 9})
    config.metrics_port = 9091
    text = held.save_config(config).read_text(encoding="utf-8")
    assert "port: 8000" in text
    assert "max_turns: 3" not in text
    assert "metrics_port: 9091" in text


def test_a_literal_key_stays_as_it_was_in_the_file(tmp_path: Path) -> None:
    held = manager(tmp_path, "models: {m: {name: x, type: openai, api_key: sk-own}}\n")
    config = held.load_config()
    config.max_turns = 5
    assert "api_key: sk-own" in held.save_config(config).read_text(encoding="utf-8")


def test_a_key_of_the_environment_goes_back_as_its_name_wherever_it_is_put(tmp_path: Path) -> None:
    held = manager(tmp_path, QUICK_START, {"OTHER_API_KEY": KEY})
    config = held.load_config()
    config.models["other"] = ModelConfig(
        name="o", type="workflow", api_key=KEY, custom_config={"headers": {"X-Key": f"Bearer {KEY}"}}
    )
    text = held.save_config(config).read_text(encoding="utf-8")
    assert KEY not in text
    assert "api_key: ${OTHER_API_KEY}" in text
    assert "X-Key: Bearer ${OTHER_API_KEY}" in text
    assert held.reload_config().models["other"].api_key == KEY


def test_a_new_secret_is_not_written_in_clear(tmp_path: Path) -> None:
    held = manager(tmp_path, QUICK_START)
    config = held.load_config()
    config.models["gpt-4o-mini"].api_key = "sk-typed"
    with pytest.raises(ConfigError, match=r"models.gpt-4o-mini.api_key: a secret is not written"):
        held.save_config(config)
    assert held.path is not None
    assert held.path.read_text(encoding="utf-8") == QUICK_START


def test_a_new_file_is_for_its_owner_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    held = manager(tmp_path, QUICK_START)
    config = held.load_config()
    new = held.save_config(config, tmp_path / "deep" / "new.yaml")
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert ConfigManager(new, environ={}).load_config() == config
    new.chmod(0o644)
    config.max_turns = 3
    ConfigManager(new, environ={}).save_config(config)
    assert stat.S_IMODE(new.stat().st_mode) == 0o644
    assert [each.name for each in new.parent.iterdir()] == ["new.yaml"]


def test_a_config_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    held = manager(tmp_path, QUICK_START)
    config = held.load_config()
    with pytest.raises(ConfigError, match="cannot be written: "):
        held.save_config(config, tmp_path / "palaver.yaml" / "x.yaml")


def test_reading_again_takes_what_changed_and_keeps_what_was_on_an_error(tmp_path: Path) -> None:
    held = manager(tmp_path, QUICK_START)
    held.load_config({"api.port": 9})
    assert held.path is not None
    held.path.write_text(QUICK_START + "max_turns: 4\n", encoding="utf-8")
    config = held.reload_config()
    assert (config.max_turns, config.api.port) == (4, 9)
    held.path.write_text("max_turns: none\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="max_turns"):
        held.reload_config()
    assert held.config is config


def test_a_models_config_is_found_by_name_or_by_default(tmp_path: Path) -> None:
    held = manager(tmp_path, QUICK_START)
    assert held.get_model_config() is held.get_model_config("gpt-4o-mini")
    with pytest.raises(ConfigError, match="model 'x' is not in models; known: gpt-4o-mini"):
        held.get_model_config("x")
