"""Two ways to run a forward pass over several conversations: all in one (`RaggedRunner`), or one after another.

Which one a model gets is found out by trying: `runner_for` compares the ragged pass with transformers' own.
"""

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import DynamicCache

from palaver.models.engine import attention
from palaver.models.engine.adapters import Adapters
from palaver.models.engine.rows import BufferRow, Row

logger = logging.getLogger(__name__)

_ATTENTION_LAYERS = {"full_attention", "sliding_attention"}


def _never() -> None:
    """The check of a step that is never given up."""


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens of one conversation that a step computes."""

    row: Row
    tokens: Sequence[int]
    adapter: str = ""


class Runner(Protocol):
    """Computes tokens of several conversations and appends them to their rows."""

    name: str
    reads_in_pieces: bool
    """Whether a prompt may be computed in several steps."""

    def new_row(self) -> Row:
        """A row without tokens."""
        ...

    def forward(self, work: Sequence[Work], check: Callable[[], None] = _never) -> torch.Tensor:
        """The logits behind each one's last token, `[len(work), vocabulary]`.

        `check` may raise to give the step up; then no row has changed.
        """
        ...


class RaggedRunner:
    """All conversations in one pass, nothing padded, each on buffers of its own (`attention.py`)."""

    name = "ragged"
    reads_in_pieces = True

    def __init__(self, model: Any, device: torch.device, adapters: Adapters | None = None) -> None:
        self._model = model
        self._device = device
        self._adapters = adapters or Adapters()
        self.windows: set[int] = set()
        self.layers: int | None = None
        """Attention layers that the last pass went through."""

    def new_row(self) -> BufferRow:
        """Buffers that take their shapes from the first keys written."""
        return BufferRow()

    def forward(self, work: Sequence[Work], check: Callable[[], None] = _never) -> torch.Tensor:
        """One pass over the tokens of all; rows grow when it is through.

        Single tokens go together under whatever adapters; longer pieces in a pass for each adapter.
        """
        adapters = list(dict.fromkeys(piece.adapter for piece in work))
        if len(adapters) == 1:
            self._adapters.use(adapters[0])
            return self._pass(work, check)
        if all(len(piece.tokens) == 1 for piece in work):
            return self._pass(work, check, [piece.adapter for piece in work])
        logits: dict[int, torch.Tensor] = {}
        for adapter in adapters:
            places = [place for place, piece in enumerate(work) if piece.adapter == adapter]
            logits |= zip(places, self.forward([work[place] for place in places], check), strict=True)
        return torch.stack([logits[place] for place in range(len(work))])

    def _pass(
        self, work: Sequence[Work], check: Callable[[], None], mixed: Sequence[str] | None = None
    ) -> torch.Tensor:
        """One call of the model; under `mixed` adapters every token is a batch row of its own."""
        segments: list[attention.Segment] = []
        tokens: list[int] = []
        places: list[int] = []
        last: list[int] = []
        for piece in work:
            assert isinstance(piece.row, BufferRow)
            start, count = len(piece.row.tokens), len(piece.tokens)
            segments.append(attention.Segment(piece.row, start, count))
            tokens.extend(piece.tokens)
            places.extend(range(start, start + count))
            last.append(len(tokens) - 1)
        step = attention.Ragged(segments, check)
        ids, positions = torch.tensor([[tokens], [places]], device=self._device)
        inputs = {"use_cache": False, "ragged": step}
        if mixed is None:
            keep = torch.tensor(last, device=self._device)
            logits = self._model(input_ids=ids, position_ids=positions, logits_to_keep=keep, **inputs).logits[0]
        else:
            logits = self._adapters.forward(mixed, input_ids=ids.T, position_ids=positions.T, **inputs).logits[:, 0]
        self.windows |= step.windows
        self.layers = step.calls
        for piece in work:
            piece.row.tokens.extend(piece.tokens)
        return logits


class CacheRow:
    """A transformers cache; cut where the architecture allows it, else forgotten."""

    def __init__(self, model: Any, *, is_recurrent: bool) -> None:
        self._config = model.config
        self._is_recurrent = is_recurrent
        self.tokens: list[int] = []
        self.cache = DynamicCache(config=self._config)

    def crop(self, length: int) -> None:
        """Cut the cache; sliding windows cannot be cut and start anew.

        Recurrent states start anew for every prompt: transformers computes them wrongly from a second piece on
        (Mamba's logits off by 0.02 of a span of 8, measured).
        """
        surplus = len(self.tokens) - length
        if self._is_recurrent:
            self.reset()
        if surplus <= 0 or self._is_recurrent:
            return
        try:
            if not all(layer.is_croppable and not layer.is_sliding for layer in self.cache.layers):
                raise RuntimeError("not croppable")
            self.cache.crop(-surplus)
            del self.tokens[length:]
        except RuntimeError:
            self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.tokens = []
        self.cache = DynamicCache(config=self._config)

    def copy_of_first(self, length: int) -> None:
        """Not offered."""

    @property
    def nbytes(self) -> int:
        """Memory of the keys and values; recurrent states are small and left out."""
        tensors = (getattr(layer, name, None) for layer in self.cache.layers for name in ("keys", "values"))
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


class TokenRow:
    """Only the tokens, of a model whose cache cannot be used: all of them are computed for each new one."""

    nbytes = 0

    def __init__(self) -> None:
        self.tokens: list[int] = []

    def crop(self, length: int) -> None:
        """Forget everything: nothing has been computed that could be kept."""
        self.tokens = []

    def copy_of_first(self, length: int) -> None:
        """Not offered."""


class SoloRunner:
    """One conversation after another through transformers' own attention: any architecture, no gain from batching."""

    name = "solo"
    has_cache = True

    def __init__(self, model: Any, device: torch.device, adapters: Adapters | None = None) -> None:
        self._model = model
        self._device = device
        self._adapters = adapters or Adapters()
        self.reads_in_pieces = not _other_layers(model)
        # transformers 5.24 renamed the argument, model by model; the old name goes with 5.40
        takes = inspect.signature(model.forward).parameters
        self._cache_argument = "cache" if "cache" in takes else "past_key_values"
        self._takes_positions = "position_ids" in takes

    def new_row(self) -> CacheRow | TokenRow:
        """A cache as the model's configuration wants it."""
        return CacheRow(self._model, is_recurrent=not self.reads_in_pieces) if self.has_cache else TokenRow()

    def without_cache(self) -> "SoloRunner":
        """From now on everything is computed anew for each token."""
        self.has_cache, self.reads_in_pieces = False, False
        return self

    def forward(self, work: Sequence[Work], check: Callable[[], None] = _never) -> torch.Tensor:
        """A pass for each; a check between them would leave some rows longer, so it comes before the first."""
        check()
        return torch.cat([self._one(piece) for piece in work])

    def _one(self, piece: Work) -> torch.Tensor:
        row = piece.row
        self._adapters.use(piece.adapter)
        if isinstance(row, CacheRow):
            tokens, start = list(piece.tokens), len(row.tokens)
            inputs = {"use_cache": True, self._cache_argument: row.cache}
        else:
            tokens, start = [*row.tokens, *piece.tokens], 0
            inputs = {"use_cache": False}
        if self._takes_positions:  # some would count from the beginning again (Bamba)
            inputs["position_ids"] = torch.arange(start, start + len(tokens), device=self._device)[None]
        try:
            logits = self._model(input_ids=torch.tensor([tokens], device=self._device), **inputs).logits[:, -1]
        except BaseException:
            row.crop(0)
            raise
        row.tokens.extend(piece.tokens)
        return logits


def runner_for(model: Any, device: torch.device, attn: str, adapters: Adapters | None = None) -> Runner:
    """The ragged runner where it gives what transformers gives, else the solo one.

    `attn` "auto" tries; "ragged" insists; any other name is transformers' own implementation, one after another.
    """
    if attn not in ("auto", "ragged"):
        return _solo(model, device, adapters)
    own = model.config._attn_implementation
    reason = _unfit(model)
    if reason is None:
        reason = _trial(model, device)
    if reason is None:
        return RaggedRunner(model, device, adapters)
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
    kinds = _other_layers(model)
    return f"it has layers of the kind {', '.join(sorted(kinds))}" if kinds else None


def _other_layers(model: Any) -> set[str]:
    """Kinds of layers besides attention over all or a window: recurrent ones, mostly."""
    return set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - _ATTENTION_LAYERS


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


def _fault(runner: Runner, model: Any, device: torch.device, attn: str = "") -> str | None:
    """Why `runner` is wrong for this model, found by comparing logits of two short conversations told in turns."""
    size = model.get_input_embeddings().num_embeddings
    first, second = ([(7 + 13 * place) % size for place in range(start, start + 9)] for start in (1, 40))
    try:
        expected = torch.cat([_plain(model, device, tokens) for tokens in (first, second)])
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
