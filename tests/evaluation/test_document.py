"""The document's blocks that speak of evaluators, run as they stand after the renames: A4.12, A4.20."""

from collections.abc import Iterator
from typing import Any

import pytest

from palaver.api import create_server
from palaver.config import HubConfig, ModelConfig, ServerConfig
from palaver.evaluation import EvaluatorPlugin, LLMEvaluator, PluginManager
from palaver.evaluation.panel import Panel
from palaver.models.scripted import ScriptedModel
from tests.seeds import blocks, run

MANAGER, PLUGIN, REGISTERED, FORM, TERMINAL = range(6, 11)


@pytest.fixture
def registered() -> Iterator[type[EvaluatorPlugin]]:
    """The document's plugin, registered as the document does it, and forgotten afterwards."""
    plugin: type[EvaluatorPlugin] = run(blocks("004")[PLUGIN])["MyEvaluatorPlugin"]
    run(blocks("004")[REGISTERED], {"MyEvaluatorPlugin": plugin})
    yield plugin
    PluginManager._types.pop("my_evaluator")


def test_the_documents_manager_makes_the_judge_from_a_config_object() -> None:
    names = run(blocks("004")[MANAGER], {"some_provider": ScriptedModel([])})
    assert isinstance(names["evaluator"], LLMEvaluator)
    assert names["loaded"] == [names["evaluator"]]


def test_the_documents_plugin_is_a_type_that_any_config_may_name(registered: type[EvaluatorPlugin]) -> None:
    assert "my_evaluator" in PluginManager.get_available_types()
    assert registered({"threshold": "0.7"}).threshold == 0.7  # type: ignore[attr-defined]  # the document's own


async def test_a_conversation_is_scored_by_the_documents_plugin(registered: type[EvaluatorPlugin]) -> None:
    """The end-to-end example: registered, named in the config, and asked after every turn."""
    parrot = ModelConfig(name="parrot", type="scripted", custom_config={"lines": ["Hello."], "cycle": True})
    evaluators: Any = [{"type": "my_evaluator", "enabled": True, "config": {"threshold": 0.7}}]
    config = ServerConfig(models={"parrot": parrot}, evaluators=evaluators, hub=HubConfig(transcripts=None))
    async with create_server(config) as server:
        log = await server.run_conversation([{"name": "Alice"}, {"name": "Bob"}], max_turns=2)
    assert log.results["Alice"]["overall"]["score"] == 8
    assert log.results["Bob"]["overall"]["reasoning"] == "Scored by custom evaluator"
    assert "8 (Scored by custom evaluator)" in log.reasoning


async def test_the_documents_return_format_is_what_is_understood() -> None:
    names = {"agent_name": "Alice", "dimension_name": "wit", "score": 3, "reasoning_string": "why"}
    given = eval(blocks("004")[FORM].strip(), names)

    class Given(EvaluatorPlugin):
        plugin_type = "given"

        async def evaluate(self, turn_number: int, messages: Any) -> Any:
            return given

    panel = Panel([Given({})])
    await panel.after_turn(1, [])
    assert panel.results()["Alice"]["wit"]["score"] == 3


async def test_the_documents_terminal_evaluator_is_asked_at_the_end() -> None:
    asked = []

    class Judge:
        async def evaluate(self, turn_number: int, messages: Any) -> Any:
            asked.append(turn_number)
            return []

    class Wrapping(EvaluatorPlugin):
        plugin_type = "wrapping"
        every_turn = False
        evaluator = Judge()
        get_terminal_evaluator = run(blocks("004")[TERMINAL], {"Any": Any})["get_terminal_evaluator"]

        async def evaluate(self, turn_number: int, messages: Any) -> Any:
            return []

    await Panel([Wrapping({})]).at_end(3, [])
    assert asked == [3]


def test_no_block_of_the_document_is_left_out() -> None:
    """Blocks 2 to 5 run in the workflow's tests, 0, 1 and 11 in the API's, 12 in the config's, the rest here."""
    assert len(blocks("004")) == 13
