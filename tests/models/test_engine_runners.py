"""One pass over conversations of different lengths gives what transformers gives for each of them alone."""

from collections.abc import Callable

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from palaver.models.engine.runners import CacheRow, RaggedRunner, SoloRunner, Work
from palaver.models.engine.trial import runner_for

CPU = torch.device("cpu")
SMALL = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MIXED = {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 8, "head_dim": 8}
ARCHITECTURES: dict[str, Callable[[], transformers.PretrainedConfig]] = {
    "llama": lambda: transformers.LlamaConfig(**SMALL),
    "qwen3": lambda: transformers.Qwen3Config(**SMALL, head_dim=8),
    "mistral with a window": lambda: transformers.MistralConfig(**SMALL, sliding_window=8),
    "gemma 2 with capped scores": lambda: transformers.Gemma2Config(**SMALL, **MIXED, query_pre_attn_scalar=8),
    "gpt-oss with sinks": lambda: transformers.GptOssConfig(
        **SMALL,
        **MIXED,
        num_local_experts=2,
        num_experts_per_tok=1,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    ),
    "phi-2": lambda: transformers.PhiConfig(**{**SMALL, "num_key_value_heads": 4}),
    "gpt-2": lambda: transformers.GPT2Config(
        vocab_size=120, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=1, eos_token_id=2
    ),
}


def made(config: transformers.PretrainedConfig) -> torch.nn.Module:
    torch.manual_seed(3)
    model: torch.nn.Module = AutoModelForCausalLM.from_config(config).eval()
    return model


def tokens(count: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return [int(token) for token in torch.randint(3, 119, (count,), generator=generator)]


def plain(model: torch.nn.Module, prompt: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(torch.tensor([prompt]), use_cache=False).logits[0, -1]
    return logits


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_of_different_lengths_agree_with_transformers(name: str) -> None:
    model = made(ARCHITECTURES[name]())
    first, second = tokens(40, 1), tokens(23, 2)
    with torch.inference_mode():
        expected = [plain(model, first), plain(model, second), plain(model, first[:30] + second)]
        runner = runner_for(model, CPU, "ragged")
        one, two = runner.new_row(), runner.new_row()
        runner.forward([Work(one, first[:9]), Work(two, second[:22])])
        runner.forward([Work(one, first[9:33])])
        found = list(runner.forward([Work(one, first[33:]), Work(two, second[22:])]))
        one.crop(30)
        found += list(runner.forward([Work(one, second)]))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_a_model_that_does_not_fit_is_decoded_one_after_another(caplog: pytest.LogCaptureFixture) -> None:
    model = made(
        transformers.BloomConfig(vocab_size=120, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2)
    )
    prompt = tokens(20, 4)
    with torch.inference_mode():
        runner = runner_for(model, CPU, "auto")
        assert isinstance(runner, SoloRunner)
        assert "one after another" in caplog.text
        rows = [runner.new_row(), runner.new_row()]
        runner.forward([Work(rows[0], prompt[:15]), Work(rows[1], prompt[:3])])
        rows[0].crop(10)
        found = runner.forward([Work(rows[0], prompt[10:]), Work(rows[1], prompt[3:])])
        for mine in found:
            torch.testing.assert_close(mine, plain(model, prompt), atol=1e-4, rtol=1e-4)


WITH_OTHER_CACHES: dict[str, tuple[Callable[[], transformers.PretrainedConfig], bool]] = {
    "rwkv, which takes no cache": (
        lambda: transformers.RwkvConfig(vocab_size=120, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32),
        False,
    ),
    "recurrent gemma, whose state lies in the model": (
        lambda: transformers.RecurrentGemmaConfig(
            vocab_size=120, hidden_size=32, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4
        ),
        False,
    ),
    "bamba, which must be told positions": (
        lambda: transformers.BambaConfig(
            **SMALL,
            attn_layer_indices=[1],
            mamba_n_heads=8,
            mamba_d_head=8,
            mamba_n_groups=1,
            mamba_d_state=8,
            mamba_chunk_size=16,
        ),
        True,
    ),
}


@pytest.mark.parametrize("name", WITH_OTHER_CACHES)
def test_a_cache_that_cannot_be_gone_on_from_is_not_used(name: str, caplog: pytest.LogCaptureFixture) -> None:
    config, has_cache = WITH_OTHER_CACHES[name]
    model = made(config())
    first, second = tokens(14, 1), tokens(9, 2)
    with torch.inference_mode():
        runner = runner_for(model, CPU, "auto")
        assert isinstance(runner, SoloRunner) and runner.has_cache == has_cache
        assert ("from the beginning, which is slow" in caplog.text) != has_cache
        one, two = runner.new_row(), runner.new_row()
        runner.forward([Work(one, first[:12]), Work(two, second[:8])])
        runner.forward([Work(one, first[12:13])])
        found = runner.forward([Work(one, first[13:]), Work(two, second[8:])])
        for mine, prompt in zip(found, (first, second), strict=True):
            torch.testing.assert_close(mine, plain(model, prompt), atol=1e-4, rtol=1e-4)


def test_recurrent_models_start_anew_instead_of_being_cut() -> None:
    row = CacheRow(made(transformers.LlamaConfig(**SMALL)), is_recurrent=True)
    row.tokens = [1, 2, 3]
    row.crop(3)
    assert row.tokens == []


def test_a_pass_given_up_between_layers_changes_no_row() -> None:
    model = made(ARCHITECTURES["llama"]())
    prompt = tokens(20, 5)
    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise InterruptedError

    with torch.inference_mode():
        expected = plain(model, prompt)
        runner = runner_for(model, CPU, "auto")
        assert isinstance(runner, RaggedRunner)
        row = runner.new_row()
        runner.forward([Work(row, prompt[:10])])
        with pytest.raises(InterruptedError):
            runner.forward([Work(row, tokens(9, 6))], check)
        assert row.tokens == prompt[:10]
        torch.testing.assert_close(runner.forward([Work(row, prompt[10:])])[0], expected, atol=1e-4, rtol=1e-4)


def test_bfloat16_agrees_within_its_rounding() -> None:
    model = made(ARCHITECTURES["llama"]()).to(torch.bfloat16)
    prompt = tokens(30, 8)
    with torch.inference_mode():
        expected = plain(model, prompt)
        runner = runner_for(model, CPU, "auto")
        row = runner.new_row()
        runner.forward([Work(row, prompt[:-1])])
        found = runner.forward([Work(row, prompt[-1:])])[0]
    assert float((found - expected).abs().max()) < 0.05 * float(expected.max() - expected.min())
