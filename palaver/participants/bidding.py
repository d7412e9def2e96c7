"""How much a participant wants the floor under the policy `bid`: a number that needs no model."""

from typing import Final

from palaver.core.mentions import mentioned
from palaver.core.message import Message, key_of
from palaver.core.protocol import FloorView

ADDRESSED: Final = 0.9
HUMAN: Final = 0.7
QUESTION: Final = 0.6
OTHERWISE: Final = 0.3


def urgency(message: Message, name: str) -> float:
    """0..1: being addressed by name counts most, then a human's words, then a question."""
    if mentioned(message.content, {key_of(name): name}):
        return ADDRESSED
    if message.role == "moderator":
        return HUMAN
    return QUESTION if "?" in message.content else OTHERWISE


def reopened(before: FloorView | None, now: FloorView) -> bool:
    """Whether bids are to be made anew: bidding has begun, or goes on after a pause that threw bids away."""
    if now.policy != "bid" or now.paused:
        return False
    return before is None or before.policy != "bid" or before.paused
