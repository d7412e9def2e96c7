"""What falls due in a room, and what happens then: leases, unanswered revokes, limits of time. No clock of its own."""

from typing import Final

from palaver.core import floor
from palaver.core.effects import Announce, Effect
from palaver.core.notices import event, notice, presence
from palaver.core.state import FOREVER, RoomState

PATIENCE: Final = 5.0
"""Seconds that a client may take to answer a revoke before it is called unresponsive."""
GRACE: Final = 60.0
"""Seconds that a member's seat is kept when its hub was lost."""


def lease_over(state: RoomState, out: list[Effect], turn: str) -> None:
    """A holder did not answer in time: the floor is taken from it, and it is not asked again until it shows life.

    It owes nothing for what it had heard. So a client that hangs costs the room one lease.
    """
    for key, given in list(state.floor.grants.items()):
        if str(given.turn) == turn and state.now >= given.deadline:
            floor.revoke(state, out, key, "lease over")
            state.records[key].heard = max(state.records[key].heard, given.context)
            state.members[key].away = True
            out.append(Announce(presence(state, state.members[key], "away", "did not answer in time")))
            waited = state.now - given.since
            text = f"{given.name} did not answer within {waited:.0f} s: the floor goes on"
            out.append(Announce(notice(state, text, level="warning", code="lease_over")))


def unanswered(state: RoomState, out: list[Effect], turn: str) -> None:
    """A revoke is not answered: say so to the moderators, once until its client answers again."""
    for _, _, record in state.agents():
        number = next((number for number in record.revoked if str(number) == turn), 0)
        since = record.revoked.get(number)
        if since is None or record.unresponsive or state.now < since + PATIENCE:
            continue
        record.unresponsive = True
        text = f"{record.name} does not answer: told to stop {state.now - since:.0f} s ago (its words are kept out)"
        told = event(state, "alarm", actor=record.name, text=text, unresponsive=True, turn=number)
        out.append(Announce(told, moderators=True))


def deadlines(state: RoomState) -> list[tuple[float, str]]:
    """When something falls due, in seconds since the epoch, and the key for `Elapsed`."""
    due = [(given.deadline, f"lease:{given.turn}") for given in state.floor.grants.values()]
    for key, _, record in state.agents():
        if key in state.floor.grants and "seconds" in record.budget:
            left = record.budget["seconds"] - record.seconds
            due.append((state.floor.grants[key].since + left + 0.001, "wake"))  # beyond any rounding
        due += [(moment, "wake") for moment in (record.slow_until, record.muted_until) if state.now < moment < FOREVER]
        if record.revoked and not record.unresponsive:
            turn, since = next(iter(record.revoked.items()))
            due.append((since + PATIENCE, f"cancel:{turn}"))
    if state.lost:  # in the order of their loss: the first is the next
        due.append((next(iter(state.lost.values())) + GRACE, "gone"))
    if state.floor.policy == "debate":  # it waits for them
        given_up = [record.left + state.floor.lease for record in state.records.values() if record.left]
        due += [(moment, "wake") for moment in given_up if moment > state.now]
    if "seconds" in state.budget and state.spent.get("since", 0.0) + state.budget["seconds"] > state.now:
        due.append((state.spent["since"] + state.budget["seconds"], "wake"))
    return due
