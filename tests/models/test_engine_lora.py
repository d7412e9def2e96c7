"""LoRA adapters on one base: each reply under its own, the base untouched."""

import asyncio
import shutil
from pathlib import Path

import pytest

from palaver.core.errors import ModelError
from palaver.models.hf import HFModel, LocalWeights, load
from palaver.models.model import ChatMessage
from tests.models.tiny_llama import save_adapter

pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft

TALK: list[ChatMessage] = [{"role": "user", "content": "What do you think about tea?"}]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [save_adapter(tmp_path_factory.mktemp(name), seed) for seed, name in enumerate(("poet", "cynic"))]


@pytest.fixture(scope="module")
def adapted(tiny_llama: Path, adapters: list[str]) -> LocalWeights:
    return load(str(tiny_llama), threads=1, lora=adapters)


async def test_each_persona_speaks_under_its_own_adapter(
    adapted: LocalWeights, adapters: list[str], weights: LocalWeights
) -> None:
    """A0.2."""
    models = [HFModel(adapted), *(HFModel(adapted, adapter=path) for path in adapters)]

    async def reply(model: HFModel) -> str:
        return (await model.complete(TALK, temperature=0, max_tokens=20, cache_key="same name")).content

    alone = [await reply(model) for model in models]
    assert len(set(alone)) == 3
    assert alone[0] == await reply(HFModel(weights))
    assert await asyncio.gather(*map(reply, [*models, *reversed(models)])) == [*alone, *reversed(alone)]


async def test_the_reply_tells_its_adapter(adapted: LocalWeights, adapters: list[str]) -> None:
    reply = await HFModel(adapted, adapter=adapters[0]).complete(TALK, max_tokens=2)
    assert reply.provenance["adapter"] == adapters[0]


async def test_a_model_may_load_its_adapter_itself(tiny_llama: Path, adapters: list[str]) -> None:
    model = await HFModel.open(str(tiny_llama), adapter=adapters[1], threads=1)
    assert (await model.complete(TALK, max_tokens=2)).success
    await model.close()


def test_an_adapter_that_was_not_loaded_is_an_error(weights: LocalWeights) -> None:
    with pytest.raises(ModelError, match="was not loaded"):
        HFModel(weights, adapter="poet")


def test_a_folder_without_an_adapter_is_an_error(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        load(str(tiny_llama), threads=1, lora=[str(tmp_path)])


def test_an_adapter_without_weights_is_not_looked_for_elsewhere(
    tiny_llama: Path, adapters: list[str], tmp_path: Path
) -> None:
    shutil.copy(Path(adapters[0]) / "adapter_config.json", tmp_path)
    with pytest.raises(ModelError, match=r"--lora .*: no adapter_model"):
        load(str(tiny_llama), threads=1, lora=[str(tmp_path)])


def test_an_adapter_of_another_model_is_an_error_that_names_it(adapters: list[str]) -> None:
    with pytest.raises(ModelError, match=rf"--lora {adapters[0]} cannot be put on this model: .*size mismatch"):
        load("tiny", threads=1, lora=adapters)


async def test_replies_under_different_adapters_are_decoded_in_one_pass(
    adapted: LocalWeights, adapters: list[str]
) -> None:
    models = [HFModel(adapted), *(HFModel(adapted, adapter=path) for path in adapters)]
    replies = await asyncio.gather(*(model.complete(TALK, temperature=0, max_tokens=12) for model in models))
    assert max(reply.provenance["batch"] for reply in replies) == 3
