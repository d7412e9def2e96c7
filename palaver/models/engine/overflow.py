"""What to leave out when a conversation is longer than the context: whole messages from the oldest, in blocks.

A block is a quarter of the context. After a cut the beginning of the prompt stays the same until another quarter has
been said, so the key-value cache lasts; cutting one message a turn would throw it away every time. The personality
and the last message are never left out; a last message that is too long by itself loses its start, not its question.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from palaver.core.errors import ModelError
from palaver.models.model import ChatMessage

Encode = Callable[[Sequence[ChatMessage]], list[int]]
Cut = Callable[[str, int], str]

_BLOCKS = 4
_SPARE = 4
"""Tokens cut besides, since the end of a text tokenises a little differently from the whole."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Tokens that fit, and what was left out."""

    tokens: list[int]
    trimmed_messages: int = 0
    truncated_tokens: int = 0


def fit(messages: Sequence[ChatMessage], *, room: int, encode: Encode, count: Callable[[str], int], cut: Cut) -> Fitted:
    """`messages` as at most `room` tokens. `cut(text, n)` gives the last n tokens of a text."""
    tokens = encode(messages)
    if len(tokens) <= room:
        return Fitted(tokens)
    head = [message for message in messages[:1] if message["role"] == "system"]
    rest = list(messages[len(head) :])
    if not rest:
        raise _too_long(len(tokens), room)
    each = _frame(encode)
    said = list(accumulate((count(message["content"]) + each for message in rest), initial=0))
    block = max(1, room // _BLOCKS)
    blocks = -(-(len(tokens) - room) // block)
    while True:
        first = min(bisect_left(said, blocks * block), len(rest) - 1)
        tokens = encode([*head, *rest[first:]])
        if len(tokens) <= room:
            return Fitted(tokens, first)
        if first == len(rest) - 1:
            return _cut_last(head, rest[-1], room=room, encode=encode, cut=cut, count=count, trimmed=first)
        blocks += 1


def _frame(encode: Encode) -> int:
    """Tokens that the template puts around each message."""
    turn: list[ChatMessage] = [{"role": "user", "content": "."}, {"role": "assistant", "content": "."}]
    return (len(encode([*turn, *turn])) - len(encode(turn))) // 2


def _cut_last(
    head: list[ChatMessage],
    last: ChatMessage,
    *,
    room: int,
    encode: Encode,
    cut: Cut,
    count: Callable[[str], int],
    trimmed: int,
) -> Fitted:
    """The personality and the end of the last message."""
    whole = keep = count(last["content"])
    over = len(encode([*head, last])) - room
    while over > 0:
        keep -= over + _SPARE
        if keep <= 0:
            raise _too_long(len(encode(head)) if head else whole, room)
        tokens = encode([*head, {"role": last["role"], "content": cut(last["content"], keep)}])
        over = len(tokens) - room
    return Fitted(tokens, trimmed, whole - keep)


def _too_long(tokens: int, room: int) -> ModelError:
    return ModelError(
        f"the personality takes {tokens} tokens and leaves no room for a message in {room}: "
        "shorten the prompt file, or raise --max-context-tokens if the model goes further"
    )
