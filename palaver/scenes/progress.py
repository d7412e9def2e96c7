"""How far a conversation has come, as plain data: with it and the room's log another process can go on."""

from collections.abc import Sequence
from dataclasses import dataclass

from palaver.evaluation.panel import Scored
from palaver.evaluation.statistics import Silence


@dataclass(frozen=True, slots=True)
class Progress:
    """Kept when the scene is set and after every turn; messages above `seq` belong to the turn that was cut off."""

    turns: int = 0
    """How many are done."""
    seq: int = 0
    """`seq` of the last message of the last of them."""
    begun: Sequence[int] = ()
    """`seq` of the last message before each of them."""
    gone: Sequence[str] = ()
    """Keys of agents that take no more part."""
    passed: Sequence[str] = ()
    """Keys of those who passed in the turn that goes on."""
    scores: Sequence[Scored] = ()
    silences: Sequence[Silence] = ()
    why: str = ""
    """Why the conversation is over; empty while it goes on."""
