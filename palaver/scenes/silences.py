"""The silences that moderators asked for, as the floor shows them: what `adherence` is measured by."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from palaver.core.protocol import FloorView
from palaver.evaluation.statistics import Silence

_ROOM: Final = ""
KEPT: Final = 1000
"""Silences of one conversation, at most."""


class Silences:
    """Takes floor states in: pauses of the whole room, and of those who are muted."""

    def __init__(self, past: Sequence[Silence] = ()) -> None:
        self._past = [silence for silence in past if silence.end is not None]
        self._open = {silence.names[0] if silence.names else _ROOM: silence for silence in past if silence.end is None}

    def take(self, floor: FloorView, *, held: bool) -> None:
        """See who is silenced now; `held` says whether a moderator has paused the room."""
        silenced = {*floor.muted, *([_ROOM] if held else [])}
        if floor.approval or floor.held:  # what a moderator lets through is heard, and no breach
            silenced, self._open = set(), {}
        for name in self._open.keys() - silenced:
            self._past.append(replace(self._open.pop(name), end=floor.timestamp))
        for name in silenced - self._open.keys():
            self._open[name] = Silence(floor.timestamp, names=(name,) if name else ())
        del self._past[:-KEPT]

    def kept(self) -> list[Silence]:
        """All of them, those that last without an end."""
        return [*self._past, *self._open.values()]
