"""Attention over several conversations of different lengths in one forward pass, without padding.

The new tokens of all conversations stand one behind the other in a batch of one; linear layers see them as one
matrix, and only here is each conversation attended to by itself, on its own buffers. It plugs into transformers as
an attention implementation (`AttentionInterface`), the way that serving engines do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from palaver.models.engine.rows import BufferRow

NAME = "palaver_ragged"
"""Under this name transformers knows the implementation."""


@dataclass(frozen=True, slots=True)
class How:
    """What a layer asks of its attention besides queries, keys and values."""

    scaling: float | None = None
    window: int | None = None
    softcap: float | None = None
    """Scores are capped (Gemma 2)."""
    sinks: torch.Tensor | None = None
    """A score per head that takes weight and gives nothing (gpt-oss)."""

    @property
    def is_plain(self) -> bool:
        """Whether the fused kernels can do it."""
        return self.softcap is None and self.sinks is None


class Step(Protocol):
    """One forward pass, handed through the model to each attention layer."""

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, how: How) -> torch.Tensor:
        """`[heads, tokens, head_dim]`, the new tokens of all conversations, to `[tokens, heads, head_dim]`."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """The tokens of one conversation that a step computes: behind `start` tokens that are there already."""

    row: BufferRow
    start: int
    count: int


@dataclass(slots=True)
class Ragged:
    """A step over segments of any lengths, each attended to by itself."""

    segments: list[Segment]
    check: Callable[[], None]
    """Called at every layer; raises to give the step up."""
    calls: int = 0
    """Attention layers that came by."""
    windows: set[int] = field(default_factory=set)
    """The sliding windows that they asked for."""
    _masks: dict[tuple[int, int, int, int], torch.Tensor] = field(default_factory=dict)

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, how: How) -> torch.Tensor:
        """Write each segment's keys and values behind its row's, and attend to them."""
        self.check()
        self.calls += 1
        if how.window:
            self.windows.add(how.window)
        counts = [segment.count for segment in self.segments]
        parts = (tensor.split(counts, 1) for tensor in (query, key, value))
        outputs = []
        for segment, new_query, new_keys, new_values in zip(self.segments, *parts, strict=True):
            keys, values = segment.row.write(layer, new_keys, new_values)
            outputs.append(self._attend(segment, new_query, keys, values, how))
        joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
        return joined.transpose(0, 1)

    def _attend(
        self, segment: Segment, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, how: How
    ) -> torch.Tensor:
        """One segment: `[heads, count, dim]` over `[key_value_heads, length, dim]`.

        Query heads that share a key head are laid behind each other, so that keys are never repeated.
        """
        length = segment.start + segment.count
        span = how.window or length
        first = max(0, segment.start - span + 1)
        if first:
            keys, values = keys[:, first:], values[:, first:]
        heads, count, dim = query.shape
        groups = heads // keys.shape[0]
        if how.is_plain and segment.start == 0 and 1 < count <= span:
            return scaled_dot_product_attention(
                query[None], keys[None], values[None], is_causal=True, scale=how.scaling, enable_gqa=groups > 1
            )[0]
        query = query.reshape(keys.shape[0], groups * count, dim)
        mask = self._mask(segment, first, span, query.device).repeat(groups, 1) if count > 1 else None
        if how.is_plain and _dislikes_single(query):
            query = query.expand(-1, 2, -1)
        if how.is_plain:
            output = scaled_dot_product_attention(
                query[None], keys[None], values[None], attn_mask=mask, scale=how.scaling
            )[0]
        else:
            output = by_hand(query, keys, values, mask, how)
        return output.narrow(1, 0, groups * count).reshape(heads, count, values.shape[-1])

    def _mask(self, segment: Segment, first_key: int, window: int, device: torch.device) -> torch.Tensor:
        """Which keys each new token may see, `[count, keys]`; made once a step, not once a layer."""
        key = (segment.start, segment.count, first_key, window)
        if key not in self._masks:
            place = torch.arange(segment.start, segment.start + segment.count)[:, None]
            keys = torch.arange(first_key, segment.start + segment.count)[None, :]
            self._masks[key] = (keys <= place) & (keys > place - window)
        mask = self._masks[key]
        if mask.device != device:
            mask = self._masks[key] = mask.to(device)
        return mask


def ragged_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    ragged: Step | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attend each token to its own conversation: `[1, heads, tokens, head_dim]` to `[1, tokens, heads, head_dim]`.

    A pass under several adapters has each token in a batch row of its own instead: `[tokens, heads, 1, head_dim]`.
    """
    if ragged is None:
        raise RuntimeError("the model did not hand its keyword arguments through to the attention")
    upright = query.shape[0] > 1
    if upright:
        query, key, value = (tensor.permute(2, 1, 0, 3) for tensor in (query, key, value))
    how = How(scaling, sliding_window, softcap, s_aux)
    output = ragged.attend(module.layer_idx, query[0], key[0], value[0], how)
    return output[:, None].contiguous() if upright else output[None].contiguous(), None


def _dislikes_single(query: torch.Tensor) -> bool:
    """On processors a single query in bfloat16 takes three to four times as long as two (torch 2.13, measured)."""
    return bool(query.shape[1] == 1 and query.dtype == torch.bfloat16 and query.device.type == "cpu")


def by_hand(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, how: How
) -> torch.Tensor:
    """Step by step, `[..., key_value_heads, queries, head_dim]`; capped scores and sinks, which fused kernels lack."""
    scores = query @ keys.transpose(-2, -1) * (how.scaling if how.scaling is not None else query.shape[-1] ** -0.5)
    if how.softcap is not None:
        scores = torch.tanh(scores / how.softcap) * how.softcap
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    if how.sinks is None:
        return torch.softmax(scores, -1, dtype=torch.float32).to(query.dtype) @ values
    key_heads, rows = scores.shape[-3:-1]
    sink = how.sinks.repeat_interleave(rows * key_heads // len(how.sinks)).reshape(key_heads, rows, 1)
    sink = sink.to(scores.dtype).expand(*scores.shape[:-1], 1)
    weights = torch.softmax(torch.cat([scores, sink], -1), -1, dtype=torch.float32)[..., :-1]
    return weights.to(query.dtype) @ values


AttentionInterface.register(NAME, ragged_attention)
