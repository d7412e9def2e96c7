"""Which model speaks and where its words come from: the flags that say so, and the models built from them."""

import argparse
import asyncio
import importlib
import logging
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from palaver import plugins
from palaver.cli.common import add_hub_flags, add_log_flags, add_trace_flag, read_text
from palaver.cli.numbers import amount, whole
from palaver.core.errors import ConfigError, MissingExtra
from palaver.models.background import in_background
from palaver.models.model import Model
from palaver.models.pool import without_user
from palaver.participants.settings import Settings

logger = logging.getLogger(__name__)

BACKENDS: Final = ("hf", "openai", "scripted")
Progress = Callable[[str, float | None], None]
"""Called from any thread with a line for the room and how much is done, 0 to 1."""


def add_model_flags(flags: argparse.ArgumentParser, *, model: str, backend: str) -> None:
    """The flags of every command that runs a model, with its defaults."""
    flags.add_argument(
        "--model",
        default=model,
        help="what speaks: a Hugging Face name or folder, `tiny` (comes with Palaver, a toy), an endpoint's model, "
        "or the script file of --backend scripted",
    )
    flags.add_argument(
        "--backend",
        default=None,
        metavar="NAME",
        help=f"hf, openai, scripted or module:object, called with the model's name (None: {backend}; openai where "
        "--api-base is given)",
    )
    flags.add_argument(
        "--api-base", metavar="URL", help="an OpenAI-compatible endpoint; its key is read from OPENAI_API_KEY"
    )
    flags.add_argument("--temperature", type=amount, default=0.7, help="of sampling; 0 always takes the likeliest")
    flags.add_argument(
        "--max-context-tokens", type=whole(64), default=2048, metavar="N", help="of prompt and reply together"
    )
    flags.add_argument("--no-auto-truncate", action="store_true", help="do not cut the prompt to --max-context-tokens")


def add_seat_flags(flags: argparse.ArgumentParser) -> None:
    """What every command that seats a model in a room takes besides: its hub, its model's place, its log."""
    flags.add_argument(
        "--private", action="store_true", help="keep its personality out of the hub's log: its words cannot be replayed"
    )
    add_hub_flags(flags)
    _add_endpoint_flags(flags)
    _add_local_flags(flags)
    add_log_flags(flags)
    add_trace_flag(flags)


def told_of(flags: argparse.Namespace, settings: Settings, backend: "Backend") -> dict[str, Any] | None:
    """What the hub's log is told of how a seat speaks, so that its turns can be replayed and its client started again.

    No key and no password is in it.
    """
    if flags.private:
        return None
    base = {"api_base": without_user(flags.api_base)} if flags.api_base else {}
    return {**settings.told(), "model": flags.model, "backend": backend.name, **base}


def _add_endpoint_flags(flags: argparse.ArgumentParser) -> None:
    """The flags of models behind an API."""
    remote = flags.add_argument_group("models behind --api-base or an API")
    remote.add_argument(
        "--max-requests-per-minute", type=amount, metavar="N", help="requests wait for their turn beyond that"
    )
    remote.add_argument(
        "--max-tokens-per-minute", type=amount, metavar="N", help="the same for tokens, prompts and replies together"
    )
    remote.add_argument(
        "--request-timeout",
        type=amount,
        default=60.0,
        metavar="SECONDS",
        help="how long the endpoint may be silent; 0: for ever",
    )


def _add_local_flags(flags: argparse.ArgumentParser) -> None:
    """The flags of models that run in this process."""
    local = flags.add_argument_group("models on this machine")
    local.add_argument("--device", type=_device, default="cpu", help="cpu, gpu, cuda:N, mps or auto")
    local.add_argument("--gpu-id", type=whole(), default=0, metavar="N", help="which card --device gpu takes")
    local.add_argument(
        "--strict-device", action="store_true", help="fail where the device is missing, instead of taking the cpu"
    )
    local.add_argument("--dtype", default="auto", help="auto, float32, float16 or bfloat16")
    local.add_argument(
        "--threads",
        type=whole(0, 1024),
        default=0,
        metavar="N",
        help="processor cores to compute with; 0: the machine's, divided by the models on it",
    )
    local.add_argument("--load-in-4bit", action="store_true", help="weights of 4 bits (bitsandbytes)")
    local.add_argument("--load-in-8bit", action="store_true", help="weights of 8 bits (bitsandbytes)")
    local.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="DIR",
        help="an adapter; the first one speaks where a seat has none of its own",
    )
    local.add_argument("--attn", default="auto", help="auto, sdpa, eager or another implementation of transformers")
    local.add_argument("--compile", action="store_true", help="compile the layers (cards only pay this back)")
    local.add_argument("--revision", help="commit, branch or tag on the Hugging Face hub")
    local.add_argument("--trust-remote-code", action="store_true", help="run the code that a model brings")
    local.add_argument(
        "--cache-bytes",
        type=whole(),
        default=0,
        metavar="N",
        help="memory for the caches of conversations; 0: by device",
    )
    local.add_argument("--time-limit", type=amount, metavar="SECONDS", help="of one reply")


def _device(text: str) -> str:
    if re.fullmatch(r"cpu|gpu|cuda(:\d+)?|mps|auto", text) is None:
        raise argparse.ArgumentTypeError(f"device {text!r} is unknown; known: cpu, gpu, cuda:N, mps, auto")
    return text


class Backend:
    """Opens models by name, each one's weights once, and closes them all at the end."""

    def __init__(self, flags: argparse.Namespace, *, default: str, adapters: Sequence[str] = ()) -> None:
        self.name: str = flags.backend or ("openai" if flags.api_base else default)
        self._flags = flags
        self._adapters = adapters or flags.lora
        """Of the model that the flags name; another one's weights would not fit them."""
        self._limit = 0 if flags.no_auto_truncate else int(flags.max_context_tokens)
        self._opened: list[Model] = []
        self._weights: dict[str, asyncio.Future[Any]] = {}
        self._rate: Any = None
        self.factory: Any = None
        """What a `module:object` or an entry point names."""
        if self.name not in BACKENDS:
            self.factory = plugins.load(self.name, group=plugins.BACKENDS, known=BACKENDS)
        if self._adapters and self.name != "hf":
            raise ConfigError(
                f"adapter {self._adapters[0]} (--lora) needs a local model; this is --backend {self.name}"
            )
        if self.name == "openai":  # a missing key is said at once, not at the first turn
            self._endpoint(flags.model).key()
        if self.name == "scripted" and not Path(flags.model).is_file():
            raise ConfigError(f"--backend scripted: --model {flags.model!r} must be a file with a reply on each line")

    @property
    def wire(self) -> dict[str, Any]:
        """How an endpoint is asked: one limit for all that this process asks of it, and its time limit."""
        from palaver.models.limits import RateLimit

        if self._rate is None:
            flags = self._flags
            self._rate = RateLimit(flags.max_requests_per_minute or None, flags.max_tokens_per_minute or None)
        return {"limit": self._rate, "timeout": self._flags.request_timeout}

    @property
    def context_tokens(self) -> int:
        """What a participant's prompt and reply may take by estimate; 0 for local models, which count themselves."""
        return 0 if self.name == "hf" else self._limit

    async def open(self, name: str, on_progress: Progress | None = None, *, adapter: str = "") -> Model:
        """The model of that name; raises `PalaverError`. Weights are loaded in a thread.

        `adapter`, one of those given to the constructor, speaks if it is the model of the flags.
        """
        match self.name:
            case "hf":
                model = await self._local(name, on_progress, adapter)
            case "openai":
                model = self._endpoint(name)
            case "scripted":
                from palaver.models.scripted import ScriptedModel

                model = ScriptedModel.from_file(name)
            case _:
                model = self.factory(name) if callable(self.factory) else self.factory
        self._opened.append(model)
        return model

    async def close(self) -> None:
        """Close everything that was opened, weights last."""
        for model in self._opened:
            await model.close()
        for loading in self._weights.values():
            if loading.done() and not loading.cancelled() and loading.exception() is None:
                await asyncio.to_thread(loading.result().close)

    def _endpoint(self, name: str) -> Any:
        from palaver.models import providers

        base = self._flags.api_base
        if base:
            from palaver.models.openai_api import OpenAIModel
            from palaver.models.registry import api_address

            return OpenAIModel(name, base_url=api_address(base), **self.wire)
        at = providers.route(name)
        if at.provider in ("hf", "ollama"):
            raise ConfigError(
                f"--backend openai: {name!r} is no model of an OpenAI-compatible endpoint; try --api-base"
            )
        return providers.api_model(at, **self.wire)

    async def _local(self, name: str, on_progress: Progress | None, adapter: str) -> Model:
        flags = self._flags
        if name not in self._weights:
            adapters = self._adapters if name == flags.model else ()
            self._weights[name] = in_background(lambda: _load(name, flags, adapters, on_progress), "palaver-loading")
        try:
            weights = await asyncio.shield(self._weights[name])
        except Exception:
            self._weights.pop(name, None)
            raise
        from palaver.models.hf import HFModel

        return HFModel(
            weights,
            adapter=adapter if name == flags.model else "",
            context_tokens=self._limit,
            time_limit=flags.time_limit,
        )


def _load(name: str, flags: argparse.Namespace, adapters: Sequence[str], on_progress: Progress | None) -> Any:
    if "torch" not in sys.modules:
        logger.info("importing torch and transformers, which takes some seconds")
    try:
        hf = importlib.import_module("palaver.models.hf")
    except ImportError as error:
        raise MissingExtra(error.name or "transformers", "hf") from error
    return hf.load(
        name,
        threads=flags.threads,
        cache_bytes=flags.cache_bytes,
        attn=flags.attn,
        dtype=flags.dtype,
        device=flags.device,
        gpu_id=flags.gpu_id,
        strict_device=flags.strict_device,
        load_in_4bit=flags.load_in_4bit,
        load_in_8bit=flags.load_in_8bit,
        lora=adapters,
        compile_layers=flags.compile,
        revision=flags.revision,
        trust_remote_code=flags.trust_remote_code,
        on_progress=on_progress,
    )


def prompt_text(path: str) -> str:
    """The personality in a prompt file: as named, or under `prompts/` here or where Palaver is installed.

    Raises `ConfigError` naming the file.
    """
    here = Path(path)
    packaged = Path(__file__).resolve().parents[1]
    folders = (Path("prompts"), packaged / "prompts", packaged.parent / "prompts")
    if here.is_file() or here.is_absolute():
        return read_text(here, "--prompt-file")
    for folder in folders:
        for candidate in (folder / here, folder / f"{here}.txt"):
            if candidate.is_file():
                return read_text(candidate, "--prompt-file")
    if here.exists():
        return read_text(here, "--prompt-file")
    known = sorted({each.stem for folder in folders for each in folder.glob("*.txt")})
    raise ConfigError(
        f"--prompt-file {path}: cannot be read: no such file, also not in prompts/; there: {', '.join(known)}"
    )
