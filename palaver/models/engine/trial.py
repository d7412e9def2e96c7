"""Which way a model is run: each is tried on two short conversations and compared with transformers' own pass."""

import logging
from collections.abc import Sequence
from typing import Any

import torch

from palaver.models.engine import attention
from palaver.models.engine.adapters import Adapters
from palaver.models.engine.graphs import GraphDecoder
from palaver.models.engine.runners import RaggedRunner, Runner, SoloRunner, Work, other_layers

logger = logging.getLogger(__name__)


def runner_for(
    model: Any, device: torch.device, attn: str, adapters: Adapters | None = None, seat_bytes: int = 1 << 30
) -> Runner:
    """The ragged runner where it gives what transformers gives, else the solo one.

    `attn` "auto" tries; "ragged" insists; any other name is transformers' own implementation, one after another.
    On a card steps are recorded where that gives the same, with up to `seat_bytes` for keys and values.
    """
    if device.type == "cuda":
        # for every new length of a conversation cuDNN plans anew: 2.5 ms a layer and token (torch 2.11, H100, measured)
        torch.backends.cuda.enable_cudnn_sdp(False)
    if attn not in ("auto", "ragged"):
        return _solo(model, device, adapters)
    own = model.config._attn_implementation
    reason = _unfit(model)
    if reason is None:
        reason = _trial(model, device)
    if reason is None:
        return RaggedRunner(model, device, adapters, _graphs_for(model, device, own, seat_bytes))
    if attn == "ragged":
        raise ValueError(f"ragged attention does not fit this model: {reason}")
    model.set_attn_implementation(own)
    logger.warning("replies of this model are decoded one after another, not in a batch: %s", reason)
    return _solo(model, device, adapters)


def _solo(model: Any, device: torch.device, adapters: Adapters | None) -> SoloRunner:
    """With the model's cache, if going on from it gives what a full computation gives."""
    runner = SoloRunner(model, device, adapters)
    reason = _fault(runner, model, device)
    if reason is None:
        return runner
    logger.warning("each token of this model's replies is computed from the beginning, which is slow: %s", reason)
    return runner.without_cache()


def _unfit(model: Any) -> str | None:
    """Why the ragged pass cannot be right for this architecture, from its configuration."""
    kinds = other_layers(model)
    return f"it has layers of the kind {', '.join(sorted(kinds))}" if kinds else None


def _trial(model: Any, device: torch.device) -> str | None:
    """Why the ragged pass is wrong for this model, found by trying it."""
    runner = RaggedRunner(model, device)
    reason = _fault(runner, model, device, attention.NAME)
    layers = model.config.get_text_config().num_hidden_layers
    if runner.layers is not None and runner.layers != layers:
        return f"{layers - runner.layers} of its {layers} layers do not take an attention from outside"
    if reason is None and _expects_window(model) and not runner.windows:
        return "its sliding window is not handed to the attention"
    return reason


def _graphs_for(model: Any, device: torch.device, own: str, seat_bytes: int) -> GraphDecoder | None:
    """Recorded steps, on one card and where they give what the model gives by itself."""
    if device.type != "cuda" or any(weight.device != device for weight in model.parameters()):
        return None
    graphs = GraphDecoder(model, device, seat_bytes)
    model.set_attn_implementation(own)
    reason = _fault(RaggedRunner(model, device, graphs=graphs), model, device, attention.NAME)
    if reason is not None:
        logger.warning("steps of this model are not recorded, replies take longer: %s", reason)
        graphs.close()
    return graphs if graphs.is_open else None


def _fault(runner: Runner, model: Any, device: torch.device, attn: str = "") -> str | None:
    """Why `runner` is wrong for this model, found by comparing logits of two short conversations told in turns."""
    size = model.get_input_embeddings().num_embeddings
    first, second = ([(7 + 13 * place) % size for place in range(start, start + 9)] for start in (1, 40))
    expected = torch.cat([_plain(model, device, tokens) for tokens in (first, second)])  # else it can do nothing here
    try:
        if attn:
            model.set_attn_implementation(attn)
        rows = [runner.new_row(), runner.new_row()]
        runner.forward([Work(rows[0], first[: 4 if runner.reads_in_pieces else 7]), Work(rows[1], second[:8])])
        runner.forward([Work(rows[0], first[len(rows[0].tokens) : 8])])
        found = runner.forward([Work(rows[0], first[8:]), Work(rows[1], second[8:])])
    except Exception as error:  # any architecture may fail in its own way; the reason is shown
        logger.debug("%s decoding failed", runner.name, exc_info=True)
        return f"{type(error).__name__}: {error}"
    spread = float((expected.max() - expected.min()).float())
    worst = float((expected.float() - found.float()).abs().max())
    exact = model.dtype == torch.float32 and getattr(model, "hf_quantizer", None) is None
    allowed = (0.002 if exact else 0.05) * spread
    return None if worst <= allowed else f"its logits differ by {worst:.3g} (they span {spread:.3g})"


def _plain(model: Any, device: torch.device, tokens: Sequence[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([list(tokens)], device=device), use_cache=False).logits[:, -1]


def _expects_window(model: Any) -> bool:
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return "sliding_attention" in kinds
    return bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True)
