"""One grant being answered: its stop button, its words so far, and their way out as a stream."""

import asyncio
from typing import Final

from palaver import tracing
from palaver.core import provenance
from palaver.core.protocol import Delta, Grant
from palaver.models.model import Cancel
from palaver.participants.link import Link
from palaver.participants.utterance import Utterance

DELTA_EVERY: Final = 0.05
"""Seconds between two frames of streamed text."""


class Turn:
    """One grant being answered."""

    def __init__(self, grant: Grant, utterance: Utterance, *, name: str, room: str) -> None:
        self.grant = grant
        self.utterance = utterance
        self.span = tracing.span(
            f"{provenance.INVOKE} {name}",
            {
                provenance.OPERATION: provenance.INVOKE,
                provenance.AGENT: name,
                provenance.CONVERSATION: room,
                "palaver.turn": grant.turn,
                "palaver.purpose": grant.purpose,
                "palaver.policy": grant.policy,
                "palaver.policy_reason": grant.reason,
            },
        )
        """Ended by whoever ends the turn."""
        self.cancel = Cancel()
        self.revoked_at: float | None = None
        self.is_saying = False
        """Generation is over and the words are on their way."""
        self.is_over = False
        self.is_abandoned = False
        self.task: asyncio.Task[None] | None = None

    def asking(self, model: str) -> tracing.Span:
        """The span of one reply of `model`."""
        return tracing.span(
            f"{provenance.CHAT} {model}",
            {provenance.OPERATION: provenance.CHAT},
            kind="client",
            parent=self.span.traceparent,
        )

    def abandon(self) -> None:
        """Give up a call that does not stop."""
        if self.task is not None and not self.task.done():
            self.is_abandoned = True
            self.task.cancel()


class Stream:
    """Sends a turn's text as it comes, gathered into at most so many frames a second."""

    def __init__(self, link: Link, turn: Turn) -> None:
        self._link = link
        self._turn = turn
        self._timer: asyncio.TimerHandle | None = None
        self._last = -DELTA_EVERY

    def feed(self, piece: str) -> None:
        """Take what the model has just written."""
        self._turn.utterance.feed(piece)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._last + DELTA_EVERY), self._send)

    def end(self) -> None:
        """Send nothing more: what is left comes with the message."""
        if self._timer is not None:
            self._timer.cancel()

    def _send(self) -> None:
        self._timer = None
        self._last = asyncio.get_running_loop().time()
        if not self._turn.cancel.is_set() and (text := self._turn.utterance.ready()):
            self._link.send(Delta(turn=self._turn.grant.turn, text=text))
