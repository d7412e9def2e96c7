"""Keys and values of the conversations being decoded, side by side, so that a step attends to all of them in one call.

A row that sits keeps its newest keys and values here until anything else is asked of it (`BufferRow.stand_up`).
Addresses stay the same from step to step, which is what a recorded step needs (`graphs.py`).
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from palaver.models.engine.attention import How, by_hand
from palaver.models.engine.rows import BufferRow

WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""How many seats a step may compute; those that nobody sits on are computed in vain."""
_SMALLEST_CAPACITY = 256
_FIRST_TOKENS = 4096
"""Room that is taken at first, in tokens over all seats."""

Layers = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Keys and values by layer."""


def width_for(rows: int) -> int:
    """The fewest seats that hold so many; raises `StopIteration` beyond the largest of `WIDTHS`."""
    return next(width for width in WIDTHS if width >= rows)


def capacity_for(tokens: int) -> int:
    """Tokens that a seat should hold for so many: 256, 384, 512, 768, 1024 and so on; at most a third is in vain."""
    capacity = _SMALLEST_CAPACITY
    while capacity < tokens:
        capacity = capacity * 3 // 2 if capacity & (capacity - 1) == 0 else capacity * 4 // 3
    return capacity


class Seats:
    """Memory cut into seats of one capacity; `limit` is in bytes. Used by the engine's thread alone."""

    def __init__(self, limit: int, on_new_memory: Callable[[], None]) -> None:
        self.capacity = 0
        """Tokens that a seat holds."""
        self.layers: Layers = {}
        """Each `[seats, key_value_heads, capacity, head_dim]`."""
        self._limit = limit
        self._on_new_memory = on_new_memory
        self._memory: Layers = {}
        self._room = 0
        self._sitting: dict[BufferRow, tuple[int, int]] = {}
        """The seat of each row, and how many tokens it came with."""

    def arrange(self, rows: Sequence[BufferRow]) -> list[int] | None:
        """A seat for each row and its next token, among the first `width_for` so many.

        None where there are too many rows, or more memory than the limit would be needed.
        """
        if len(rows) > WIDTHS[-1] or not all(row.tokens for row in rows):
            return None
        width, capacity = width_for(len(rows)), capacity_for(max(len(row.tokens) for row in rows) + 1)
        fits = capacity <= self.capacity <= 4 * capacity and width * self.capacity <= self._room
        if not fits and not self._lay_out(rows[0], width, capacity):
            return None
        staying = set(rows)
        for row, (seat, _) in list(self._sitting.items()):
            if row not in staying or seat >= width:
                self._stand_up(row)
        taken = {seat for seat, _ in self._sitting.values()}
        free = (seat for seat in range(width) if seat not in taken)
        for row in rows:
            if row not in self._sitting:
                self._sit(row, next(free))
        return [self._sitting[row][0] for row in rows]

    def clear(self) -> None:
        """Everybody stands up; the memory is given back."""
        self._empty()
        self.layers, self._memory = {}, {}
        self.capacity = self._room = 0

    def shrink(self) -> None:
        """Give the memory back and never take more than half of what was allowed."""
        self.clear()
        self._limit //= 2

    def _empty(self) -> None:
        for row in list(self._sitting):
            self._stand_up(row)

    def _lay_out(self, like: BufferRow, width: int, capacity: int) -> bool:
        """Cut the memory anew, larger if need be; False where the limit forbids it."""
        self._empty()
        if width * capacity > self._room:
            held = like.held()
            most = self._limit // sum(tensor[:, :1].nbytes for pair in held.values() for tensor in pair)
            if width * capacity > most:
                return False
            room = min(most, max(width * capacity, 2 * self._room, _FIRST_TOKENS))
            self.clear()
            self._on_new_memory()
            self._memory = {layer: (_room(keys, room), _room(values, room)) for layer, (keys, values) in held.items()}
            self._room = room
        self.layers = {
            layer: (_cut(keys, capacity), _cut(values, capacity)) for layer, (keys, values) in self._memory.items()
        }
        self.capacity = capacity
        return True

    def _sit(self, row: BufferRow, seat: int) -> None:
        row.reserve(self.capacity)
        start = len(row.tokens)
        for layer, pair in row.held().items():
            for own, shared in zip(pair, self.layers[layer], strict=True):
                shared[seat, :, :start] = own
                shared[seat, :, start:] = 0  # what an overflow left there would spoil sums even unseen
        self._sitting[row] = seat, start
        row.stand_up = partial(self._stand_up, row)

    def _stand_up(self, row: BufferRow) -> None:
        row.stand_up = None
        (seat, start), end = self._sitting.pop(row), len(row.tokens)
        for layer, (keys, values) in self.layers.items():
            row.put(layer, start, keys[seat, :, start:end], values[seat, :, start:end])


def _room(like: torch.Tensor, tokens: int) -> torch.Tensor:
    return like.new_empty(like.shape[0], tokens, like.shape[2])


def _cut(memory: torch.Tensor, capacity: int) -> torch.Tensor:
    """`[heads, room, dim]` as `[seats, heads, capacity, dim]`; what does not fill a seat is left over."""
    heads, room, dim = memory.shape
    seats = room // capacity
    return memory.view(-1)[: seats * heads * capacity * dim].view(seats, heads, capacity, dim)


class Seated:
    """A step that computes the next token on each of the first seats; `places` is where it stands, `[seats]`."""

    def __init__(self, seats: Seats, places: torch.Tensor) -> None:
        self._layers = seats.layers
        self._places = places
        self._width = len(places)
        self._seat = torch.arange(self._width, device=places.device)
        self._distance = places[:, None] - torch.arange(seats.capacity, device=places.device)
        self._masks: dict[int | None, torch.Tensor] = {}

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, how: How) -> torch.Tensor:
        """Write each token's key and value into its seat, and attend to what is there; as `Step.attend`."""
        keys, values = (memory[: self._width] for memory in self._layers[layer])
        keys[self._seat, :, self._places] = key.transpose(0, 1)
        values[self._seat, :, self._places] = value.transpose(0, 1)
        query = query.transpose(0, 1).reshape(self._width, keys.shape[1], -1, query.shape[-1])
        # a fused kernel goes through the keys of a head in one place: 27 to 100 us where this takes 16 to 22 (H100)
        output = by_hand(query, keys, values, self._mask(how.window), how)
        return output.reshape(self._width, -1, values.shape[-1])

    def _mask(self, window: int | None) -> torch.Tensor:
        """Which keys each seat's token may see, `[seats, 1, 1, capacity]`; made once a step."""
        if window not in self._masks:
            seen = self._distance >= 0
            if window:
                seen &= self._distance < window
            self._masks[window] = seen[:, None, None]
        return self._masks[window]
