"""Entries as they lie in the embedded log: decoded when they are looked at; the one that is damaged is named."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import overload

from palaver.core.entry import Entry, decode_entries, decode_entry
from palaver.core.errors import LogUnavailable, ProtocolError
from palaver.hub.blocks import Block, is_plain, pieces, split


class Entries(Sequence[tuple[int, Entry]]):
    """Entries above a position, decoded when they are looked at: those of a long log need not all lie in memory.

    Raises `LogUnavailable` for one that cannot be read.
    """

    def __init__(self, room: str, after: int, blocks: list[Block], told: Callable[[Exception], str]) -> None:
        self._room, self._after, self._blocks, self._told = room, after, blocks, told

    def __len__(self) -> int:
        return sum([last - max(first - 1, self._after) for first, last, _ in self._blocks])

    @overload
    def __getitem__(self, place: int) -> tuple[int, Entry]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[int, Entry]]: ...
    def __getitem__(self, place: int | slice) -> tuple[int, Entry] | list[tuple[int, Entry]]:
        return list(self)[place]

    def __iter__(self) -> Iterator[tuple[int, Entry]]:
        for block in self._blocks:
            try:
                if block[0] > self._after:
                    yield from _decoded(*block)
                else:
                    yield from [positioned for positioned in _decoded(*block) if positioned[0] > self._after]
            except (ProtocolError, ValueError) as error:
                raise LogUnavailable(f"log: {self._told(ValueError(self._damage(*block)))}") from error

    def _damage(self, first: int, last: int, block: bytes) -> str:
        """Which entry cannot be read, or that the block as such cannot."""
        with contextlib.suppress(ValueError):
            for position, line in split(block, first, last):
                try:
                    decode_entry(line)
                except ProtocolError as error:
                    return f"entry {position} of room {self._room!r} is damaged: {error}"
        return f"the block of entries of room {self._room!r} that ends at {last} is damaged"


def _decoded(first: int, last: int, block: bytes) -> Iterator[tuple[int, Entry]]:
    """The entries of a block; raises `ProtocolError` or `ValueError` where it is damaged."""
    if not is_plain(block):
        yield from [(position, decode_entry(line)) for position, line in split(block, first, last)]
        return
    for piece in pieces(block):
        entries = decode_entries(piece)
        yield from enumerate(entries, first)
        first += len(entries)
    if first != last + 1:
        raise ValueError("its row says how many lines it has")
