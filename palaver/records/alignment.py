"""Two conversations beside each other: what they have in common, then turn against turn of the same speaker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from palaver.core.message import Message, key_of

AHEAD: Final = 8
"""So many turns are looked ahead for one of the same speaker, before a turn is called one that only one side has."""


@dataclass(frozen=True, slots=True)
class Row:
    """One turn of each side; None where that side has none."""

    left: Message | None
    right: Message | None

    @property
    def is_same(self) -> bool:
        """Whether both said the same."""
        return self.left is not None and self.right is not None and what(self.left) == what(self.right)


def what(message: Message) -> tuple[str, str, str, bool]:
    """What two messages must share to be the same: who said what to whom, and whether it was taken back."""
    return key_of(message.sender), key_of(message.to or ""), message.content, message.redacted is not None


def common(left: Sequence[Message], right: Sequence[Message]) -> int:
    """How many messages both begin with."""
    for place, (one, other) in enumerate(zip(left, right, strict=False)):
        if what(one) != what(other):
            return place
    return min(len(left), len(right))


def aligned(left: Sequence[Message], right: Sequence[Message]) -> Iterator[Row]:
    """Every message of both sides once, in order, beside the other side's turn of the same speaker."""
    first = second = 0
    while first < len(left) and second < len(right):
        found = _nearest(left[first : first + AHEAD], right[second : second + AHEAD])
        skip_left, skip_right = found or (1, 1)
        yield from (Row(message, None) for message in left[first : first + skip_left])
        yield from (Row(None, message) for message in right[second : second + skip_right])
        first, second = first + skip_left, second + skip_right
        if found is not None:
            yield Row(left[first], right[second])
            first, second = first + 1, second + 1
    yield from (Row(message, None) for message in left[first:])
    yield from (Row(None, message) for message in right[second:])


def _nearest(left: Sequence[Message], right: Sequence[Message]) -> tuple[int, int] | None:
    """How many turns to skip on each side, as few as can be, until both have the same speaker's."""
    for skipped in range(len(left) + len(right) - 1):
        for one in range(min(skipped, len(left) - 1) + 1):
            other = skipped - one
            if other < len(right) and key_of(left[one].sender) == key_of(right[other].sender):
                return one, other
    return None
