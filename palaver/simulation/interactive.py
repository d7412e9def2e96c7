"""A rollout with a person at the terminal, who lets the models speak or speaks in their place. Seed 0, row 0.12."""

import re
from collections.abc import Callable
from typing import Final

from palaver.models import blocking
from palaver.simulation.rollout import Rollout, Side
from palaver.simulation.talk import Ended, Talk

QUIT: Final = ("/quit", "/q")
_SHOWN: Final = 200
"""Characters of a prefix message that are shown."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""A model's text must not drive the terminal."""


def run(talk: Talk, max_turns: int, *, ask: Callable[[str], str], tell: Callable[[str], None]) -> Rollout:
    """Drive `talk` for `max_turns` turns; `/quit`, end of input and Ctrl-C end it as `moderator_stop`.

    A model that fails is reported, and the same turn is asked for again.
    """
    rollout = talk.rollout
    tell("Interactive rollout: Enter generates the next message, text is said instead, /quit ends it.")
    for message in rollout:
        text = message["content"]
        tell(f"{message['role']}: {_harmless(text[:_SHOWN])}{'...' if len(text) > _SHOWN else ''}")
    try:
        if talk.user_waits:
            _turn(talk, "assistant", ask, tell)
        for _ in range(max_turns):
            _turn(talk, "user", ask, tell)
            _turn(talk, "assistant", ask, tell)
            talk.turns += 1
        talk.close("max_turns")
    except Ended:
        pass
    except (EOFError, KeyboardInterrupt):
        tell("")
        talk.close("moderator_stop")
    tell(f"{len(rollout.new)} new messages ({rollout.termination_reason}).")
    return rollout


def _turn(talk: Talk, side: Side, ask: Callable[[str], str], tell: Callable[[str], None]) -> None:
    while True:
        typed = ask(f"{side}> ").strip()
        if typed.casefold() in QUIT:
            talk.end("moderator_stop")
        if typed:
            talk.say(side, typed)
            return
        before = len(talk.rollout)
        try:
            blocking.run(talk.user_turn() if side == "user" else talk.assistant_turn())
        except Ended:
            _show(talk, before, tell)
            if not talk.rollout.failed:
                raise
            tell(f"The {side} could not speak: {talk.rollout.error}. Enter tries again, text is said instead.")
            continue
        _show(talk, before, tell)
        return


def _show(talk: Talk, before: int, tell: Callable[[str], None]) -> None:
    for message in talk.rollout[before:]:
        tell(f"{message['role']}: {_harmless(message['content'])}")


def _harmless(text: str) -> str:
    return _CONTROL.sub("", text)
