"""Names to objects, and what is said where a name leads nowhere."""

import sys
from pathlib import Path

import pytest

from palaver import plugins
from palaver.core.errors import ConfigError
from palaver.models.scripted import ScriptedModel


def test_a_module_and_an_object_in_it_are_found() -> None:
    found = plugins.load("palaver.models.scripted:ScriptedModel.from_file", group=plugins.BACKENDS)
    assert found == ScriptedModel.from_file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nosuch", "backend 'nosuch' is unknown; known: hf, module:object"),
        ("no.such.module:thing", "module 'no.such.module' cannot be imported"),
        ("palaver.plugins:nothing", "there is no 'nothing' in 'palaver.plugins'"),
        (":thing", "not of the form module:object"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_with_what_is_known(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        plugins.load(name, group=plugins.BACKENDS, known=("hf",))


def test_a_plugin_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "palaver_plugin_here.py").write_text("loaded = True\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    plugins.import_modules(["palaver_plugin_here"])
    assert sys.modules["palaver_plugin_here"].loaded


def test_a_plugin_that_fails_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "palaver_plugin_broken.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="plugin 'palaver_plugin_broken' cannot be imported: ZeroDivisionError"):
        plugins.import_modules(["palaver_plugin_broken"])
