"""Where a model runs and in which number format: what was asked for, or an error that says what to do instead."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch

from palaver.core.errors import ModelError

logger = logging.getLogger(__name__)

_SMALL = 100_000_000
"""Parameters below which float32 is faster than bfloat16 on a processor (measured, 15M against 110M)."""
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_SHORT = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "half": "float16"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where weights go: `device` for what the engine makes itself, `device_map` for transformers."""

    device: torch.device
    device_map: str | None = None


def choose_place(
    device: str, *, gpu_id: int | None = None, strict: bool = False, warn: Callable[[str], None] = logger.warning
) -> Place:
    """The place for `cpu`, `gpu`, `cuda`, `cuda:N`, `mps` or `auto`; never a card that was not asked for.

    `gpu` without CUDA is the processor with a warning, or an error when `strict`. `auto` spreads over all cards.
    """
    kind, _, number = device.partition(":")
    if kind in ("gpu", "cuda") and number:
        if not number.isdigit() or gpu_id not in (None, 0, int(number)):
            raise ModelError(f"--device {device} and --gpu-id {gpu_id} do not fit together: give one card's number")
        kind, gpu_id = "gpu", int(number)
    if gpu_id is not None and gpu_id < 0:
        raise ModelError(f"--gpu-id {gpu_id} is no card: numbers start at 0")
    if gpu_id and kind not in ("gpu", "cuda"):
        raise ModelError(f"--gpu-id {gpu_id} needs --device gpu (it is {device})")
    match kind:
        case "cpu":
            return Place(torch.device("cpu"))
        case "gpu" | "cuda":
            return _card(gpu_id, strict, warn)
        case "mps":
            if not torch.backends.mps.is_available():
                raise ModelError("--device mps: this machine has no Metal device; use --device cpu")
            return Place(torch.device("mps"))
        case "auto":
            cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if cards > 1:
                return Place(torch.device("cuda:0"), "auto")
            return Place(torch.device("cuda:0") if cards else torch.device("cpu"))
    raise ModelError(f"device {device!r} is unknown; known: cpu, gpu, cuda:N, mps, auto")


def _card(gpu_id: int | None, strict: bool, warn: Callable[[str], None]) -> Place:
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if cards:
        if (gpu_id or 0) >= cards:
            raise ModelError(f"--gpu-id {gpu_id}: this machine has {cards} card(s), numbered 0 to {cards - 1}")
        return Place(torch.device(f"cuda:{gpu_id or 0}"))
    if strict or gpu_id:
        wanted = f"--gpu-id {gpu_id}" if gpu_id else "--device gpu"
        raise ModelError(f"{wanted}: torch sees no CUDA card here; use --device cpu or install a CUDA build of torch")
    warn("torch sees no CUDA card here: running on the processor (--strict-device makes this an error)")
    return Place(torch.device("cpu"))


def choose_dtype(dtype: str, place: Place, parameters: int) -> torch.dtype:
    """The number format for `auto`, or the one named.

    `auto`: bfloat16 on cards that have it, else float16; on a processor bfloat16 from 100 million parameters on where
    it computes in that format, else float32.
    """
    name = _SHORT.get(dtype, dtype)
    if name != "auto":
        if name not in DTYPES:
            raise ModelError(f"dtype {dtype!r} is unknown; known: auto, {', '.join(DTYPES)}")
        return DTYPES[name]
    if place.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if place.device.type == "mps":
        return torch.float16
    return torch.bfloat16 if parameters >= _SMALL and _computes_bfloat16() else torch.float32


def _computes_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; emulated it is slower than float32."""
    import platform

    if platform.machine() in ("arm64", "aarch64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
