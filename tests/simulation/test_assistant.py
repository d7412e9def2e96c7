"""The local assistant on fixture F3."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from palaver.core.errors import MissingExtra, ModelError
from palaver.models.hf import HFModel, LocalWeights
from palaver.models.scripted import ScriptedModel
from palaver.simulation import ChatSimulator, LocalAssistant, ModelAssistant, SimulatedUser
from tests.models.tiny_llama import make_model
from tests.simulation.talks import QUESTION, SYSTEM, numbered, shape


def test_a_folder_answers_greedily_or_not(tiny_llama: Path) -> None:
    """A0.1, rows 0.2 and 0.5."""
    with LocalAssistant(str(tiny_llama), max_new_tokens=12, do_sample=False, threads=1) as assistant:
        first, second = (assistant.generate([QUESTION]) for _ in range(2))
        assert isinstance(first, str) and first and first == second
        assert assistant.weights.loaded.dtype == torch.float32
        greedy = LocalAssistant(weights=assistant.weights, max_new_tokens=12, temperature=0)
        assert greedy.generate([QUESTION]) == first


def test_one_of_path_and_weights_is_needed(weights: LocalWeights) -> None:
    for given in ({}, {"model_path": "x", "weights": weights}):
        with pytest.raises(TypeError, match="model_path or weights"):
            LocalAssistant(**given)  # type: ignore[arg-type]


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="/nowhere/model"):
        LocalAssistant("/nowhere/model")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's own, when it makes one
def test_an_adapter_changes_what_is_said(tiny_llama: Path, tmp_path: Path) -> None:
    """A0.2."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(3)
    config = peft.LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    peft.get_peft_model(make_model(), config).save_pretrained(tmp_path)
    settings = {"max_new_tokens": 16, "temperature": 0.0, "threads": 1}
    with (
        LocalAssistant(str(tiny_llama), **settings) as base,  # type: ignore[arg-type]
        LocalAssistant(str(tiny_llama), lora_path=str(tmp_path), **settings) as tuned,  # type: ignore[arg-type]
    ):
        assert base.generate([QUESTION]) != tuned.generate([QUESTION])
        assert base.describe() != tuned.describe()


def test_what_is_sampled_otherwise_is_told_apart(weights: LocalWeights) -> None:
    plain, narrow = (ModelAssistant(HFModel(weights, top_p=top_p)) for top_p in (None, 0.5))
    assert plain.describe() != narrow.describe() == ModelAssistant(HFModel(weights, top_p=0.5)).describe()


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"max_new_tokens": 0}])
def test_sampling_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="at least 1 token and a temperature of 0 or more"):
        ModelAssistant(ScriptedModel([]), **wrong)


def test_four_bits_without_bitsandbytes_name_the_extra(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A0.3."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'palaver\[quant\]'") as caught:
        LocalAssistant(str(tiny_llama), use_4bit=True)
    assert isinstance(caught.value, MissingExtra)


def test_without_torch_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "palaver.models.hf", None)
    with pytest.raises(ImportError, match=r"palaver\[hf\]"):
        LocalAssistant("some-model")


async def test_many_rollouts_on_one_model_are_decoded_in_batches_and_say_the_same_as_alone(
    weights: LocalWeights,
) -> None:
    """Row 0.16: concurrent rollouts share the engine; greedy ones do not depend on company."""
    assistant = LocalAssistant(weights=weights, max_new_tokens=10, temperature=0)
    user = SimulatedUser(HFModel(weights), "Ask about tea.", temperature=0, max_tokens=10)
    simulator = ChatSimulator(assistant, user, max_errors=3)
    prefixes = [[SYSTEM, {"role": "user", "content": f"Tell me about tea number {n}."}] for n in range(6)]
    together = await simulator.rollouts(prefixes, max_turns=2)
    alone = [await simulator.rollouts([prefix], max_turns=2) for prefix in prefixes]
    assert [list(rollout) for rollout in together] == [list(rollout) for (rollout,) in alone]
    assert {shape(rollout) for rollout in together} == {"SUAUAUA"}
    assert together[0].usage["assistant"].reused_tokens > 0


def test_a_rollout_tells_what_made_it(weights: LocalWeights) -> None:
    assistant = LocalAssistant(weights=weights, max_new_tokens=4)
    rollout = ChatSimulator(assistant, numbered("question")).rollout([QUESTION], 1, seed=5)
    made = json.loads(json.dumps(rollout.to_record()))["made_by"]["assistant"]
    assert (made["backend"], made["dtype"], made["sampling"]["temperature"]) == ("hf", "float32", 0.7)
