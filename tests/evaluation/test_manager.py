"""Evaluators by type: rows 4.23 to 4.27, A4.12."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from types import SimpleNamespace
from typing import Any

import pytest

from palaver.core.errors import ConfigError
from palaver.evaluation import (
    EvaluatorConfig,
    EvaluatorPlugin,
    LLMEvaluator,
    PluginManager,
    RuleBasedEvaluator,
    manager,
)
from palaver.models.scripted import ScriptedModel


class MyEvaluatorPlugin(EvaluatorPlugin):
    """The seed document's example, as it stands there."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.threshold = float(config.get("threshold", 0.5))

    @property
    def plugin_type(self) -> str:
        return "my_evaluator"

    async def evaluate(self, turn_number: int, messages: list[tuple[str, Any]]) -> list[Any]:
        results: list[tuple[str, tuple[tuple[str, int], str]]] = []
        for sender, _ in messages:
            if sender == "Environment":
                continue
            results.append((sender, (("overall", 8), "Scored by custom evaluator")))
        return results


@pytest.fixture(autouse=True)
def known_types() -> Iterator[None]:
    """Types registered by one test are unknown to the next."""
    before = dict(PluginManager._types)
    yield
    PluginManager._types.clear()
    PluginManager._types.update(before)


def test_it_makes_keeps_and_forgets_evaluators() -> None:
    """Row 4.23, the document's example."""
    plugins = PluginManager()
    config = EvaluatorConfig(type="llm", enabled=True, model="gpt-4o-mini", config={"dimensions": "sotopia"})
    evaluator = plugins.create_evaluator(config, {"gpt-4o-mini": ScriptedModel([])})
    assert isinstance(evaluator, LLMEvaluator)
    plugins.create_evaluator(EvaluatorConfig("rule_based", config={"max_turn_number": 5}), {})
    assert [one.plugin_type for one in plugins.get_evaluators()] == ["llm", "rule_based"]
    [rules] = plugins.get_evaluators_by_type("rule_based")
    assert isinstance(rules, RuleBasedEvaluator) and rules.max_turn_number == 5
    plugins.clear_evaluators()
    assert plugins.get_evaluators() == []


def test_a_registered_type_can_be_named_by_any_config() -> None:
    """A4.12 and row 4.24: the type is known to every manager, so to the server's own."""
    PluginManager().register_plugin("my_evaluator", MyEvaluatorPlugin)
    from_yaml = SimpleNamespace(type="my_evaluator", enabled=True, model=None, config={"threshold": 0.7})
    evaluator = PluginManager().create_evaluator(from_yaml, {})
    assert isinstance(evaluator, MyEvaluatorPlugin) and evaluator.threshold == 0.7
    assert PluginManager.get_available_types() == ["rule_based", "llm", "my_evaluator"]


def test_other_packages_bring_types_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", f"{__name__}:MyEvaluatorPlugin", manager.GROUP)
    monkeypatch.setattr(manager, "entry_points", lambda **wanted: EntryPoints([point]).select(**wanted))
    assert PluginManager.get_available_types() == ["rule_based", "llm", "theirs"]
    assert isinstance(PluginManager().create_evaluator(EvaluatorConfig("theirs"), {}), MyEvaluatorPlugin)


def test_one_that_is_not_enabled_is_not_made() -> None:
    plugins = PluginManager()
    assert plugins.create_evaluator(EvaluatorConfig("rule_based", enabled=False), {}) is None
    assert plugins.get_evaluators() == []


def test_the_default_model_judges_where_none_is_named() -> None:
    model = ScriptedModel([], name="default")
    evaluator = PluginManager().create_evaluator(EvaluatorConfig("llm"), {"d": model}, "d")
    assert evaluator is not None and evaluator.provenance["model"] == "default"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (EvaluatorConfig("magic"), "'magic' is unknown; known: rule_based, llm"),
        (EvaluatorConfig("llm"), "needs a model"),
        (EvaluatorConfig("llm", model="gone"), "'gone' is unknown; known: here"),
    ],
)
def test_what_cannot_be_made_is_said_and_not_left_out(config: EvaluatorConfig, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        PluginManager().create_evaluator(config, {"here": ScriptedModel([])})


def test_whatever_a_plugin_cannot_do_with_its_settings_is_a_wrong_config(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(RuleBasedEvaluator):
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__({"max_turn_number": config["turns"]})

    monkeypatch.setattr(PluginManager, "_types", {**PluginManager._types, "strict": Strict})
    with pytest.raises(ConfigError, match="evaluator 'strict' cannot be made: KeyError: 'turns'"):
        PluginManager.try_out(EvaluatorConfig("strict"), ["m"])


def test_what_is_no_evaluator_cannot_be_registered() -> None:
    with pytest.raises(ConfigError, match="no subclass"):
        PluginManager().register_plugin("odd", dict)  # type: ignore[arg-type]  # what is tested
