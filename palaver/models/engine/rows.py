"""The keys and values of one conversation, kept from turn to turn, and the store that bounds them all."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

_GROW = 256
"""Room is added for this many tokens at once: a copy every 256 tokens instead of one every token."""
_WORTH_COPYING = 64
"""A new conversation copies another one's common beginning only from this many tokens on."""


class Row(Protocol):
    """What has been computed of one conversation."""

    tokens: list[int]
    """The tokens whose keys and values are held, from the first one on."""

    def crop(self, length: int) -> None:
        """Forget what comes after `length` tokens; a row that cannot be cut forgets everything."""
        ...

    def copy_of_first(self, length: int) -> "Row | None":
        """A new row that holds the first `length` tokens, or None where that cannot be had."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        ...


class BufferRow:
    """Buffers with room to grow, one pair a layer, each `[key_value_heads, capacity, head_dim]`.

    `write` puts keys and values behind the committed tokens; they count only once `tokens` has grown, so a step that
    was given up half-way needs no repair. While a row sits among others (`seats.py`) its newest keys and values are
    there; whatever is asked of the row brings them back first.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.stand_up: Callable[[], None] | None = None
        """Brings back what is elsewhere; set while the row sits."""
        self._keys: dict[int, torch.Tensor] = {}
        self._values: dict[int, torch.Tensor] = {}

    def held(self) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of the committed tokens by layer, each `[key_value_heads, tokens, head_dim]`."""
        self._come_home()
        end = len(self.tokens)
        return {layer: (keys[:, :end], self._values[layer][:, :end]) for layer, keys in self._keys.items()}

    def reserve(self, capacity: int) -> None:
        """Room for so many tokens, so that none has to be found when the row comes home."""
        self._come_home()
        for buffers in (self._keys, self._values):
            for layer, buffer in buffers.items():
                if buffer.shape[1] < capacity:
                    buffers[layer] = _grown(buffer, buffer, len(self.tokens), capacity)

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store `[heads, n, dim]` behind what is there; returns all keys and values including the new ones."""
        self._come_home()
        return self.put(layer, len(self.tokens), keys, values)

    def put(
        self, layer: int, start: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store `[heads, n, dim]` from place `start` on; returns everything up to them."""
        end = start + keys.shape[1]
        if layer not in self._keys or self._keys[layer].shape[1] < end:
            self._keys[layer] = _grown(self._keys.get(layer), keys, start, end)
            self._values[layer] = _grown(self._values.get(layer), values, start, end)
        all_keys, all_values = self._keys[layer], self._values[layer]
        all_keys[:, start:end] = keys
        all_values[:, start:end] = values
        return all_keys[:, :end], all_values[:, :end]

    def crop(self, length: int) -> None:
        """Forget what comes after `length` tokens; the memory stays for the next turn."""
        del self.tokens[length:]  # first, so that what is forgotten is not brought back
        self._come_home()

    def copy_of_first(self, length: int) -> "BufferRow":
        """A new row with copies of the first `length` tokens' keys and values."""
        self._come_home()
        twin = BufferRow()
        twin.tokens = self.tokens[:length]
        twin._keys = {layer: _grown(keys, keys, length, length) for layer, keys in self._keys.items()}
        twin._values = {layer: _grown(values, values, length, length) for layer, values in self._values.items()}
        return twin

    @property
    def nbytes(self) -> int:
        """Memory held, spare capacity included."""
        self._come_home()
        return sum(buffer.nbytes for buffers in (self._keys, self._values) for buffer in buffers.values())

    def _come_home(self) -> None:
        if self.stand_up is not None:
            self.stand_up()


def _grown(old: torch.Tensor | None, like: torch.Tensor, filled: int, needed: int) -> torch.Tensor:
    capacity = -(-needed // _GROW) * _GROW
    buffer = like.new_empty(like.shape[0], capacity, like.shape[2])
    if old is not None and filled:
        buffer[:, :filled] = old[:, :filled]
    return buffer


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences share from the start."""
    limit = min(len(first), len(second))
    if first[:limit] == second[:limit]:
        return limit
    low, high = 0, limit  # equal slices are compared at C speed, so bisect instead of walking
    while high - low > 1:
        middle = (low + high) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle
    return low


class RowStore:
    """Idle conversations by key, least recently used out first when they hold more than `limit` bytes.

    Used by the engine's thread alone.
    """

    def __init__(self, limit: int, new_row: Callable[[], Row]) -> None:
        self.limit = limit
        self._new_row = new_row
        self._rows: OrderedDict[tuple[str, str], Row] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """What the idle conversations hold."""
        return sum(row.nbytes for row in self._rows.values())

    def take(self, key: tuple[str, str], tokens: Sequence[int]) -> Row:
        """The row to continue `tokens` from, cut to what it shares with them; empty if nothing is known.

        `key` is (adapter, conversation). At least the last token is left to compute, since its logits are wanted.
        """
        row = self._rows.pop(key, None) or self._borrowed(key[0], tokens) or self._new_row()
        row.crop(min(common_prefix(row.tokens, tokens), len(tokens) - 1))
        return row

    def _borrowed(self, adapter: str, tokens: Sequence[int]) -> Row | None:
        """A copy of the longest common beginning among other conversations under the same adapter."""
        shared, best = 0, None
        for (other, _), row in self._rows.items():
            length = min(common_prefix(row.tokens, tokens), len(tokens) - 1)
            if other == adapter and length > shared:
                shared, best = length, row
        return best.copy_of_first(shared) if best is not None and shared >= _WORTH_COPYING else None

    def keep(self, key: tuple[str, str], row: Row) -> None:
        """Hold `row` for the next turn; an empty conversation name means that it has none."""
        if not key[1] or not row.tokens:
            return
        self._rows[key] = row
        self._rows.move_to_end(key)
        while self._rows and self.nbytes > self.limit:
            self._rows.popitem(last=False)

    def clear(self) -> None:
        """Forget everything, to make room."""
        self._rows.clear()
