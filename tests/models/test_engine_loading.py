"""Loading: the device that was asked for or an error, number formats, extras by name, what cannot be loaded."""

import logging
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import (
    AutoConfig,
    BartConfig,
    BertConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MptConfig,
    PretrainedConfig,
    T5Config,
    ViTConfig,
    XLNetConfig,
)

from palaver.core.errors import MissingExtra, ModelError
from palaver.models.engine.devices import Place, choose_dtype, choose_place
from palaver.models.engine.loading import Loaded, count_parameters, find, fingerprint, load_weights, need
from palaver.models.hf import load
from tests.models.tiny_llama import make_tokenizer

CPU = Place(torch.device("cpu"))
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")


def cards(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Pretend that torch sees so many cards."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@without_cuda
def test_what_the_hub_library_warns_of_stands_once_in_the_log() -> None:
    """It prints by itself and hands on to the root logger besides."""
    library = logging.getLogger("huggingface_hub")
    assert library.propagate
    assert library.handlers == []


def test_gpu_without_cuda_is_the_processor_with_a_warning() -> None:
    """A2.16."""
    warnings: list[str] = []
    assert choose_place("gpu", warn=warnings.append).device.type == "cpu"
    assert "no CUDA" in warnings[0] and "--strict-device" in warnings[0]


@without_cuda
def test_gpu_without_cuda_is_an_error_when_strict() -> None:
    """A2.16."""
    with pytest.raises(ModelError, match="--device cpu"):
        choose_place("gpu", strict=True)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_card_that_is_not_there_is_never_another_one(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A2.16."""
    cards(monkeypatch, count)
    with pytest.raises(ModelError, match="--gpu-id 99"):
        choose_place("gpu", gpu_id=99)


@pytest.mark.parametrize("device", ["gpu", "cpu"])
def test_a_negative_card_is_an_error(device: str) -> None:
    with pytest.raises(ModelError, match="start at 0"):
        choose_place(device, gpu_id=-1)


def test_a_card_for_another_device_is_an_error_not_ignored() -> None:
    with pytest.raises(ModelError, match="needs --device gpu"):
        choose_place("cpu", gpu_id=1)


def test_the_card_asked_for_is_the_one_used(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 2)
    assert choose_place("gpu", gpu_id=1).device == torch.device("cuda:1")
    assert choose_place("cuda:1").device == torch.device("cuda:1")
    assert choose_place("auto").device_map == "auto"
    with pytest.raises(ModelError, match="do not fit together"):
        choose_place("cuda:1", gpu_id=2)


def test_an_unknown_device_names_the_known_ones() -> None:
    with pytest.raises(ModelError, match="known: cpu, gpu, cuda:N, mps, auto"):
        choose_place("tpu")


def test_the_number_format_follows_size_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A0.1: float32 on a processor for the small ones."""
    assert choose_dtype("auto", CPU, 15_000_000) == torch.float32
    monkeypatch.setattr("palaver.models.engine.devices._computes_bfloat16", lambda: True)
    assert choose_dtype("auto", CPU, 1_000_000_000) == torch.bfloat16
    monkeypatch.setattr("palaver.models.engine.devices._computes_bfloat16", lambda: False)
    assert choose_dtype("auto", CPU, 1_000_000_000) == torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert choose_dtype("auto", Place(torch.device("cuda:0")), 1) == torch.float16
    assert choose_dtype("bf16", CPU, 1) == torch.bfloat16
    with pytest.raises(ModelError, match="known: auto, float32"):
        choose_dtype("int3", CPU, 1)


def test_a_package_that_is_missing_names_its_extra() -> None:
    with pytest.raises(MissingExtra, match=r"palaver\[quant\]"):
        need("no_such_package_here", "quant")


def test_four_bits_without_bitsandbytes_name_the_extra(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A0.3."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"bitsandbytes is not installed: run `pip install 'palaver\[quant\]'`"):
        load_weights(str(tiny_llama), load_in_4bit=True)
    with pytest.raises(MissingExtra, match=r"palaver\[lora\]"):
        load_weights(str(tiny_llama), lora=["poet"])


def test_four_and_eight_bits_exclude_each_other(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match="exclude each other"):
        load_weights(str(tiny_llama), load_in_4bit=True, load_in_8bit=True)


@pytest.mark.parametrize("model", ["/no/such/folder", "./nothing", "a/b/c"])
def test_a_folder_that_is_not_there_is_an_error(model: str) -> None:
    with pytest.raises(ModelError, match="is no folder"):
        find(model)


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        find(str(tmp_path))


def test_a_broken_folder_says_what_could_not_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-kind"}')
    with pytest.raises(ModelError, match="cannot load"):
        load_weights(str(tmp_path))


@pytest.mark.parametrize("size", [0, 300, -2000])
def test_weights_that_were_not_downloaded_whole_are_an_error(tiny_llama: Path, tmp_path: Path, size: int) -> None:
    shutil.copytree(tiny_llama, tmp_path / "cut")
    file = tmp_path / "cut" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ModelError, match="was not downloaded whole"):
        load_weights(str(tmp_path / "cut"))


def test_weights_that_are_missing_are_an_error_not_noise(tiny_llama: Path, tmp_path: Path) -> None:
    config = LlamaConfig.from_pretrained(tiny_llama)
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"lack weights: lm_head\.weight"):
        load_weights(str(tmp_path))


def test_weights_of_other_sizes_are_an_error_that_says_so(tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path / "other")
    LlamaConfig.from_pretrained(tiny_llama, hidden_size=64).save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match=r"sizes that its config\.json tells"):
        load_weights(str(tmp_path / "other"))


def test_a_folder_without_a_tokenizer_says_what_is_missing(tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path / "mute", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(ModelError, match="its tokenizer is missing or broken"):
        load_weights(str(tmp_path / "mute"))


@pytest.mark.parametrize(
    "config", [BertConfig(architectures=["BertForMaskedLM"]), T5Config(), BartConfig(), ViTConfig()]
)
def test_what_does_not_continue_a_text_is_refused(config: PretrainedConfig, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="only models that continue a text"):
        load_weights(str(tmp_path))


def test_a_model_that_cannot_compute_here_is_not_ready(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler, or with weights in a format that this device does not have."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel for this\nand more")

    monkeypatch.setattr(LlamaForCausalLM, "forward", fail)
    with pytest.raises(ModelError, match=r"cannot load .*: no kernel for this$"):
        load(str(tiny_llama), threads=1)


def test_files_of_llama_cpp_are_told_where_they_belong(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    for given in (file, tmp_path):
        with pytest.raises(ModelError, match=rf"llama-server -m {file}.*--api-base"):
            find(str(given))


def test_a_revision_of_a_folder_is_an_error(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match=r"--revision main: .* is a folder"):
        load_weights(str(tiny_llama), revision="main")


def test_a_context_that_is_none_is_not_taken_for_one() -> None:
    def context(config: PretrainedConfig) -> int:
        return Loaded("m", SimpleNamespace(config=config), None, CPU, torch.float32, "").context_tokens

    assert context(MptConfig(max_seq_len=512)) == 512
    assert context(XLNetConfig()) == 2048


def test_loading_reports_progress_and_facts(tiny_llama: Path) -> None:
    lines: list[tuple[str, float | None]] = []
    loaded = load_weights(str(tiny_llama), on_progress=lambda text, done: lines.append((text, done)))
    assert [done for _, done in lines] == sorted(done for _, done in lines if done is not None)
    assert "float32 on cpu" in lines[1][0] and lines[-1][1] == 1.0
    assert loaded.context_tokens == 2048 and loaded.dtype == torch.float32
    assert loaded.parameters == sum(parameter.numel() for parameter in loaded.model.parameters())


def test_a_folder_is_told_from_others_by_its_weights(tiny_llama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(tiny_llama, copy)
    told = load_weights(str(tiny_llama)).revision
    assert re.fullmatch("local:[0-9a-f]{16}", told) and fingerprint(str(copy)) == told
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert fingerprint(str(copy)) != told
    assert fingerprint(str(tmp_path / "nothing")) == "local"


def test_parameters_are_counted_without_loading_them(tiny_llama: Path) -> None:
    assert 50_000 < count_parameters(AutoConfig.from_pretrained(tiny_llama)) < 60_000
