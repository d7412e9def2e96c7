"""A script as its author writes it, with plain variables: it runs, and `mypy --strict` of all tests passes it."""

import asyncio
from pathlib import Path

import pytest

import palaver
from palaver import Conversation, LLMClient, Message
from palaver.completion import generate_completion_with_messages_async
from palaver.models.scripted import ScriptedModel
from palaver.simulation import ChatSimulator, ModelAssistant, SimulatedUser, UserModel, datasets
from palaver.simulation.metrics import metric
from palaver.simulation.rewards import MultiturnReward, compare


class Echo(UserModel):
    """As the document behind `palaver.simulation` writes one."""

    def generate(self, messages: list[dict[str, str]]) -> str:
        transformed = self._prepare_messages_for_user_perspective(messages)
        return f"{transformed[-1]['content']}?"


def test_those_who_import_it_get_its_types() -> None:
    assert (Path(palaver.__file__).parent / "py.typed").is_file()


def test_dicts_and_lists_in_variables_are_what_the_functions_take(tmp_path: Path) -> None:
    question = {"role": "user", "content": "What is 2 + 2?"}
    prefix = [question]
    prefixes = [[{"role": "user", "content": f"What is {number} + 2?"}] for number in range(3)]
    assistant = ModelAssistant(ScriptedModel(lambda messages: "4"))
    simulator = ChatSimulator(assistant, Echo(), min_turns=1)
    rollout = simulator.rollout(prefix, max_turns=2)
    assert rollout[-1]["content"] == assistant.generate(prefix) == "4"
    assert SimulatedUser(ScriptedModel(["why"])).generate(prefix) == "why"
    rollouts = simulator.rollouts_sync(prefixes, n=2, max_turns=1, path=tmp_path / "rollouts.jsonl", seed=1)
    assert datasets.write(tmp_path / "sft.jsonl", datasets.sft_rows(rollouts)) == 6
    assert asyncio.run(metric("accuracy")(rollout, "4")).value == 1.0
    comparison = asyncio.run(compare(simulator, prefix, MultiturnReward({"accuracy": metric("accuracy")}), "4"))
    assert [candidate.reply for candidate in comparison.candidates] == ["4"]


async def test_prompts_of_every_form_are_taken() -> None:
    messages = [{"role": "user", "content": "hello"}]
    conversation = Conversation.system("Be brief.").add(Message.user("hello")).user("hello?")
    client = LLMClient(ScriptedModel(["hi"], cycle=True))
    stream = client.stream("hello")
    with pytest.raises(RuntimeError, match="not walked to its end"):
        print(stream.response.completion)
    assert [piece async for piece in stream] == [stream.response.completion] == ["hi"]
    responses = await client.process_prompts_async(["hello", messages, conversation], show_progress=False)
    assert [response.completion for response in responses] == ["hi"] * 3
    assert not (await generate_completion_with_messages_async(messages, "hf//no/such/folder")).success
