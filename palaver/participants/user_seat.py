"""A simulated user's seat: it opens the conversation, counts its turns, and leaves when it is over.

A turn is a message of the user's and the answer to it (the decision on seed 0, row 0.10).
"""

import asyncio
import logging
from typing import Any, Final

from palaver.core.errors import ModelError
from palaver.core.message import AGENTS, Message, same_name
from palaver.core.protocol import Ack, Event, FloorRequest, FloorView, Presence, Welcome
from palaver.models.model import LLMResponse
from palaver.participants.link import Answer, LinkDown, Received
from palaver.participants.participant import Participant

logger = logging.getLogger(__name__)

LAST_ANSWER: Final = 60.0
"""Seconds that it waits for an answer to its last message."""
TRIES: Final = 3
"""Turns in a row in which its model may fail."""
PATIENCE: Final = 5.0
"""Seconds until it tries again after the first of them, and twice as many after the second."""


class UserSeat(Participant):
    """Leaves after `max_turns` turns (0: never) or when its model's reply bears an `end_signal` (provenance).

    Where its model fails it tries again by itself, a few times: nobody else may be there to ask it once more.
    """

    def __init__(self, *arguments: Any, max_turns: int = 0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.turns = 0
        """Messages it has said."""
        self._max_turns = max_turns
        self._last_seq = 0
        self._asked = False
        self._is_waiting = False
        """Whether it has said that it waits for a model."""
        self._failures = 0
        self._gave_up = ""
        """Why it left, where its model is to blame."""

    async def run(self) -> None:
        """Take part until it leaves; raises `ModelError` where it left because its model fails."""
        await super().run()
        if self._gave_up:
            raise ModelError(f"{self.link.name} left: {self._gave_up}")

    def finish(self, reason: str) -> None:
        """Leave the room, with a word in its own log: nobody else may be there to see it."""
        logger.info("%s leaves: %s", self.link.name, reason)
        super().finish(reason)

    def observed(self, received: Received) -> None:
        """Ask for the floor where nobody else would begin; leave after the last answer."""
        match received:
            case LinkDown():
                self._asked = False
            case Welcome() if received.floor.ended:
                self.finish("the conversation has ended")
            case Welcome() | FloorView() | Presence():
                self._open()
            case Event(kind="ended"):
                self.finish("the conversation has ended")
            case Message() if self.has_finished and self._is_answer(received):
                self.finish(f"all {self.turns} turns are done")

    def took_turn(self, response: LLMResponse, answer: Answer | None) -> None:
        """Count what was said; leave at an end signal."""
        if response.success:
            self._failures = 0
        if isinstance(answer, Ack):
            self.turns += 1
            self._last_seq = answer.seq or self.room.last_seq
        signal = response.provenance.get("end_signal")
        if signal:
            self.has_finished = True
            self.finish(f"ended the conversation with {signal}")
        elif self._max_turns and self.turns >= self._max_turns:
            self.has_finished = True
            if any(self._is_answer(message) for message in self.room.messages):
                self.finish(f"all {self.turns} turns are done")
            else:
                asyncio.get_running_loop().call_later(LAST_ANSWER, self.finish, "its last message was not answered")

    def failed(self, reason: str) -> None:
        """Try again in a while, or give up."""
        self._failures += 1
        if self._failures < TRIES:
            self._own(self._try_again(PATIENCE * self._failures))
        else:
            self.has_finished = True
            self._gave_up = f"its model failed {TRIES} times in a row: {reason}"
            self.finish(self._gave_up)

    async def _try_again(self, seconds: float) -> None:
        logger.info("%s tries again in %.0f s", self.link.name, seconds)
        await asyncio.sleep(seconds)
        if not self.link.send(FloorRequest(urgency=0.5, reason="tries again")):
            self._own(self._try_again(PATIENCE))

    def _open(self) -> None:
        """Raise a hand, once, where a model is ready, nobody speaks, and it has said nothing yet."""
        floor = self.room.floor
        if self._asked or self.turns or self.model is None or floor is None or floor.holders:
            return
        if not self.link.join.ready:
            return
        if not self.room.ready_models():
            if not self._is_waiting:
                logger.info("%s waits for a model that can answer", self.link.name)
            self._is_waiting = True
            return
        self._asked = self.link.send(FloorRequest(urgency=0.5, reason="opens the conversation"))

    def _is_answer(self, message: Message) -> bool:
        return message.seq > self._last_seq and message.role in AGENTS and not same_name(message.sender, self.link.name)
