"""Two ways to run a forward pass over several conversations: all in one (`RaggedRunner`), or one after another.

Which one a model gets is found out by trying (`trial.py`).
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import DynamicCache

from palaver.models.engine import attention
from palaver.models.engine.adapters import Adapters
from palaver.models.engine.graphs import GraphDecoder
from palaver.models.engine.rows import BufferRow, Row

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

    reads_in_pieces: bool
    """Whether a prompt may be computed in several steps."""

    @property
    def name(self) -> str:
        """As replies say it in their provenance."""
        ...

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

    reads_in_pieces = True

    def __init__(
        self,
        model: Any,
        device: torch.device,
        adapters: Adapters | None = None,
        graphs: GraphDecoder | None = None,
    ) -> None:
        self._model = model
        self._device = device
        self._adapters = adapters or Adapters()
        self._graphs = graphs
        self.windows: set[int] = set()
        self.layers: int | None = None
        """Attention layers that the last pass went through."""

    @property
    def name(self) -> str:
        """`graphs` where steps are recorded."""
        return "graphs" if self._graphs is not None and self._graphs.is_open else "ragged"

    def new_row(self) -> BufferRow:
        """Buffers that take their shapes from the first keys written."""
        return BufferRow()

    def forward(self, work: Sequence[Work], check: Callable[[], None] = _never) -> torch.Tensor:
        """One pass over the tokens of all; rows grow when it is through.

        Single tokens go together under whatever adapters, longer pieces in a pass for each adapter; where steps are
        recorded, single tokens go apart from longer pieces.
        """
        single = [place for place, piece in enumerate(work) if len(piece.tokens) == 1]
        if self._graphs is None or not self._graphs.is_open or not single:
            return self._passes(work, check)
        longer = [place for place, piece in enumerate(work) if len(piece.tokens) != 1]
        if not longer:
            return self._played(work, check)
        return _in_parts(work, check, [(longer, self._passes), (single, self._played)])

    def _played(self, work: Sequence[Work], check: Callable[[], None]) -> torch.Tensor:
        """Single tokens by a recorded step, or by a pass where there is none for them."""
        logits = None
        adapters = {piece.adapter for piece in work}
        if self._graphs is not None and len(adapters) == 1:
            adapter = adapters.pop()
            self._adapters.use(adapter)
            rows = [piece.row for piece in work if isinstance(piece.row, BufferRow)]
            logits = self._graphs.step(rows, [piece.tokens[0] for piece in work], adapter)
        if logits is None:
            return self._passes(work, check)
        for piece in work:
            piece.row.tokens.extend(piece.tokens)
        return logits

    def _passes(self, work: Sequence[Work], check: Callable[[], None]) -> torch.Tensor:
        adapters = list(dict.fromkeys(piece.adapter for piece in work))
        if len(adapters) == 1:
            self._adapters.use(adapters[0])
            return self._pass(work, check)
        if all(len(piece.tokens) == 1 for piece in work):
            return self._pass(work, check, [piece.adapter for piece in work])
        parts = [[place for place, piece in enumerate(work) if piece.adapter == adapter] for adapter in adapters]
        return _in_parts(work, check, [(places, self._passes) for places in parts])

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


Compute = Callable[[Sequence[Work], Callable[[], None]], torch.Tensor]
"""As `Runner.forward`."""


def _in_parts(
    work: Sequence[Work], check: Callable[[], None], parts: Sequence[tuple[Sequence[int], Compute]]
) -> torch.Tensor:
    """Compute the places of each part in its way, one part after another; the logits in the order of `work`."""
    logits: dict[int, torch.Tensor] = {}
    for places, compute in parts:
        logits |= zip(places, compute([work[place] for place in places], check), strict=True)
    return torch.stack([logits[place] for place in range(len(work))])


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
        self.reads_in_pieces = not other_layers(model)
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


def other_layers(model: Any) -> set[str]:
    """Kinds of layers besides attention over all or a window: recurrent ones, mostly."""
    return set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - _ATTENTION_LAYERS
