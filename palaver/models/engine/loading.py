"""Weights from a folder or the hub, with what they need, or an error that names the flag or the extra that helps."""

import hashlib
import importlib.util
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from palaver.core.errors import MissingExtra, ModelError
from palaver.models.engine.adapters import Adapters, check_adapter
from palaver.models.engine.devices import Place, choose_dtype, choose_place

logger = logging.getLogger(__name__)
logging.getLogger("huggingface_hub").handlers.clear()  # it prints on its own besides: each line stood there twice

_MIB = 1 << 20
_LIMITS = ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len")
"""What configurations call the longest context."""
Progress = Callable[[str, float | None], None]
"""Called with a line for the room and how much is done, 0 to 1, or None where that is not known."""


@dataclass(slots=True)
class Loaded:
    """A model ready for an engine, and the facts that replies carry."""

    name: str
    model: Any
    tokenizer: Any
    place: Place
    dtype: torch.dtype
    revision: str
    quantisation: str = ""
    parameters: int = 0
    adapters: Adapters = field(default_factory=Adapters)
    notes: list[str] = field(default_factory=list)
    """Warnings of loading, for the person at the console."""

    @property
    def context_tokens(self) -> int:
        """What the architecture was made for; 2,048 where it does not say."""
        config = self.model.config.get_text_config()
        limits = (getattr(config, name, None) or 0 for name in _LIMITS)
        return next((int(limit) for limit in limits if limit > 0), 2048)


def load_weights(
    model: str,
    *,
    dtype: str = "auto",
    device: str = "cpu",
    gpu_id: int | None = None,
    strict_device: bool = False,
    load_in_4bit: bool = False,
    load_in_8bit: bool = False,
    lora: Sequence[str] = (),
    attn: str = "auto",
    compile_layers: bool = False,
    revision: str | None = None,
    trust_remote_code: bool = False,
    on_progress: Progress | None = None,
) -> Loaded:
    """Load a folder, a hub name or `tiny`; raises `ModelError` (or `MissingExtra`). Blocks: call it in a thread."""
    tell = on_progress or _to_log
    started = time.monotonic()
    notes: list[str] = []

    def warn(text: str) -> None:
        logger.warning(text)
        notes.append(text)
        tell(text, None)

    place = choose_place(device, gpu_id=gpu_id, strict=strict_device, warn=warn)
    quantisation = _quantisation(load_in_4bit, load_in_8bit)
    if lora:
        need("peft", "lora")
    for adapter in lora:
        check_adapter(adapter)
    source = find(model)
    if revision and Path(source).is_dir():
        raise ModelError(f"--revision {revision}: {model} is a folder, and a folder has no revisions")
    common = {"revision": revision, "trust_remote_code": trust_remote_code}
    with plain_errors(model, trust_remote_code), _without_bars():
        tell(f"reading {model}", 0.0)
        config = AutoConfig.from_pretrained(source, **common)
        _check_kind(config, model)
        tokenizer = _tokenizer(source, common)
        parameters = count_parameters(config, trust_remote_code)
        chosen = choose_dtype(dtype, place, parameters)
        tell(f"loading {_amount(parameters)} parameters of {model} as {_short(chosen)} on {place.device}", 0.1)
        weights, found = AutoModelForCausalLM.from_pretrained(
            source,
            output_loading_info=True,
            config=config,
            dtype=chosen,
            device_map=_device_map(place),
            quantization_config=_bits(quantisation, chosen),
            **({} if attn in ("auto", "ragged") else {"attn_implementation": attn}),
            **common,
        )
        _check_complete(found["missing_keys"])
        weights.eval()
        adapters = Adapters.load(weights, lora, tell)
    if compile_layers:
        _compile(weights)
    commit = getattr(config, "_commit_hash", None) or revision or fingerprint(source)
    tell(f"{model} is ready after {time.monotonic() - started:.1f} s", 1.0)
    return Loaded(model, weights, tokenizer, place, chosen, commit, quantisation, parameters, adapters, notes)


def find(model: str) -> str:
    """The folder or hub name to load from; raises `ModelError` for a path that is not there."""
    if model == "tiny":
        from palaver.models import tiny

        return str(tiny.path())
    folder = Path(model).expanduser()
    gguf = [folder] if folder.suffix == ".gguf" else sorted(folder.glob("*.gguf"))
    if gguf and not (folder / "config.json").is_file():
        raise ModelError(f"{model} is for llama.cpp: run `llama-server -m {gguf[0]}` and give --api-base its address")
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{model} holds no config.json: give the folder of a Hugging Face model")
        return str(folder)
    if model.startswith(("/", "~", ".")) or model.count("/") > 1 or folder.exists():
        raise ModelError(f"{model} is no folder: give the folder of a Hugging Face model, or a hub name")
    return model


def fingerprint(source: str) -> str:
    """`local:` and 16 hex digits that tell a folder's weights from others; `local` where there are none to look at.

    Of each file: its size, and its first and last MiB. Training changes them all, and reading 140 GB takes minutes.
    """
    told = hashlib.sha256()
    files = sorted(path for path in Path(source).glob("*") if path.suffix in (".safetensors", ".bin"))
    for path in files:
        size = path.stat().st_size
        told.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            told.update(file.read(_MIB))
            file.seek(max(0, size - _MIB))
            told.update(file.read(_MIB))
    return f"local:{told.hexdigest()[:16]}" if files else "local"


def need(package: str, extra: str) -> None:
    """Raise `MissingExtra` unless `package` is installed."""
    if importlib.util.find_spec(package) is None:
        raise MissingExtra(package, extra)


def count_parameters(config: Any, trust_remote_code: bool = False) -> int:
    """Parameters of the architecture, counted without memory for them; 0 where that cannot be had."""
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except (RuntimeError, ValueError, NotImplementedError, ImportError):
        logger.debug("cannot count the parameters", exc_info=True)
        return 0
    return sum(parameter.numel() for parameter in model.parameters())


def _check_kind(config: Any, model: str) -> None:
    """Refuse what does not continue a text: it would load in part, and speak noise."""
    kind = next(iter(config.architectures or ()), config.model_type)
    of_its_own = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or ())
    continues = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING or of_its_own
    if config.is_encoder_decoder or not continues or kind.endswith("ForMaskedLM"):
        raise ModelError(
            f"{model} is a {kind}, and only models that continue a text can be loaded here: "
            "serve it elsewhere and give --api-base, or take another"
        )


def _tokenizer(source: str, common: dict[str, Any]) -> Any:
    try:
        return AutoTokenizer.from_pretrained(source, **common)
    except Exception as error:  # a file of somebody else's, read by several libraries
        logger.debug("cannot read the tokenizer", exc_info=True)
        text = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"cannot load {source}: its tokenizer is missing or broken ({text})") from error


def _check_complete(missing: Collection[str]) -> None:
    """What is missing in the files was made up at random: the model would speak noise."""
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"its files lack weights: {min(missing)}{more}")


def _device_map(place: Place) -> Any:
    """None on the processor, so that it needs no accelerate."""
    return None if place.device.type == "cpu" else place.device_map or {"": str(place.device)}


def _quantisation(four: bool, eight: bool) -> str:
    if four and eight:
        raise ModelError("--load-in-4bit and --load-in-8bit exclude each other")
    if not four and not eight:
        return ""
    need("bitsandbytes", "quant")
    logging.getLogger("bitsandbytes.autograd").setLevel(logging.ERROR)  # it warns in each layer of each step of a cast
    return "4bit" if four else "8bit"


def _bits(quantisation: str, dtype: torch.dtype) -> Any:
    if not quantisation:
        return None
    if quantisation == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=True
    )


def _compile(model: Any) -> None:
    """Compile the feed-forward parts; attention stays as it is, since its rows have another length at every step."""
    for module in model.modules():
        if type(module).__name__.endswith("MLP"):
            module.compile(dynamic=True)


@contextmanager
def plain_errors(model: str, trusted: bool = True) -> Iterator[None]:
    """Make a `ModelError` of whatever goes wrong with a model's files, or with its first steps."""
    try:
        yield
    except ModelError:
        raise
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError(
            f"{model} does not fit on the card: try --load-in-4bit, --device auto (several cards) or a smaller model"
        ) from error
    except Exception as error:  # files of somebody else's, read by several libraries
        logger.debug("cannot load %s", model, exc_info=True)
        raise ModelError(f"cannot load {model}: {_reason(error, trusted)}") from error


def _reason(error: Exception, trusted: bool) -> str:
    """The first line of what a library says, or what it means."""
    told = str(error).strip()
    if "trust_remote_code" in told and not trusted:
        return "it brings code of its own; --trust-remote-code runs it, if you trust who wrote it"
    if "ignore_mismatched_sizes" in told:
        return "its weights are not of the sizes that its config.json tells"
    if type(error).__name__ in ("SafetensorError", "UnpicklingError"):
        return f"a file of its weights is broken or was not downloaded whole ({told.splitlines()[0]})"
    if "couldn't connect to" in told:
        return "there is no folder of that name here, it was not downloaded before, and huggingface.co is out of reach"
    return told.splitlines()[0] if told else type(error).__name__


@contextmanager
def _without_bars() -> Iterator[None]:
    """Progress goes through the callback; bars on stderr would run through the console."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


def _to_log(text: str, _: float | None) -> None:
    logger.info(text)


def _amount(parameters: int) -> str:
    if parameters >= 1_000_000_000:
        return f"{parameters / 1e9:.1f} billion"
    return f"{parameters / 1e6:.1f} million" if parameters else "the"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
