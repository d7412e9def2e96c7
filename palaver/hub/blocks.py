"""Blocks of the embedded log: JSON lines with rising numbers, many in one row.

Where the numbers leave no gap, as nearly always, only the row has them: its first and its last. Otherwise each line
begins with its own (`12 {...}`), as all lines did once.
"""

from collections.abc import Iterator
from typing import Final

Lines = list[tuple[int, bytes]]
"""Positions (or `seq`), rising, each with its JSON."""
Block = tuple[int, int, bytes]
"""A row: the first and the last number, and the lines."""
PIECE: Final = 16 * 1024
"""Bytes of a piece, about: what is made of it stays near the processor until it is looked at."""


def joined(lines: Lines) -> bytes:
    """Lines as they lie in a row."""
    if lines[-1][0] - lines[0][0] == len(lines) - 1:
        return b"\n".join([text for _, text in lines])
    return b"\n".join([b"%d %b" % line for line in lines])


def split(block: bytes, first: int, last: int) -> Lines:
    """The lines of a row that says it goes from `first` to `last`; raises `ValueError` where it is damaged."""
    if not is_plain(block):
        return [(int(number), text) for number, _, text in (line.partition(b" ") for line in block.split(b"\n"))]
    lines = list(enumerate(block.split(b"\n"), first))
    if lines[-1][0] != last:
        raise ValueError(f"{len(lines)} lines where those from {first} to {last} should be")
    return lines


def is_plain(block: bytes) -> bool:
    """Whether its lines bear no numbers."""
    return block.startswith(b"{")


def pieces(block: bytes) -> Iterator[memoryview]:
    """The lines of a plain block, some together."""
    view, start = memoryview(block), 0
    while start < len(block):
        end = block.find(b"\n", start + PIECE)
        end = len(block) if end < 0 else end
        yield view[start:end]
        start = end + 1
