"""The states of a room's floor, as a table from which `docs/floor.md` draws its diagram.

The rules do not read it. The tests hold it against them from both sides: no room takes a way that is not in the table,
and each way in the table is taken.
"""

from typing import Final, Literal, NamedTuple

from palaver.core.state import RoomState

State = Literal["free", "taken", "sealed", "paused", "ended"]

STATES: Final[dict[State, str]] = {
    "free": "nobody has the floor: nobody owes an answer, or the policy waits",
    "taken": "one or several have the floor, each under a turn of its own, until its lease runs out",
    "sealed": "some have spoken under `simultaneous`; their words come out when the others have",
    "paused": "nobody gets the floor; people speak on",
    "ended": "nobody speaks any more",
}
"""What each state means. One that comes later in this table hides those before it."""


class Transition(NamedTuple):
    """A way from one state to another."""

    before: State
    after: State
    when: str


TRANSITIONS: Final = (
    Transition("free", "taken", "the policy grants: somebody owes an answer, raises a hand, is handed the floor"),
    Transition("taken", "free", "the last holder speaks, passes, is revoked, leaves or lets its lease run out"),
    Transition("taken", "sealed", "the first of a round has spoken"),
    Transition("sealed", "taken", "the round is over, the next begins"),
    Transition("sealed", "free", "the round is over"),
    Transition("free", "paused", "/pause, a spent budget, a hop limit set below the count"),
    Transition("taken", "paused", "/pause, hop limit, last message of /step, spent budget, alarm: grants are revoked"),
    Transition("sealed", "paused", "/pause, or a limit that the round's words reach: grants are revoked"),
    Transition("paused", "free", "/resume, /step"),
    Transition("paused", "taken", "/resume, /step, and somebody owes an answer"),
    Transition("free", "ended", "/end"),
    Transition("taken", "ended", "/end: grants are revoked"),
    Transition("sealed", "ended", "/end: sealed words are never said"),
    Transition("paused", "ended", "/end"),
)


def state_of(state: RoomState) -> State:
    """Which state the floor of a room is in."""
    if state.ended:
        return "ended"
    if state.floor.paused:
        return "paused"
    if state.floor.sealed:
        return "sealed"
    return "taken" if state.floor.grants else "free"


def mermaid() -> str:
    """The table as a state diagram."""
    ways = [f"    {way.before} --> {way.after}: {way.when.replace(':', ',')}" for way in TRANSITIONS]
    return "\n".join(["stateDiagram-v2", "    [*] --> free", *ways, "    ended --> [*]"])
