"""The evaluator that needs no model: too many turns, nobody does anything, somebody has left (seed 4, row 4.22)."""

from typing import Any, Final

from palaver.core.errors import ConfigError
from palaver.evaluation.plugin import ENVIRONMENT, TURN, Entry, EvaluatorPlugin

NOTHING: Final = "did nothing"
LEFT: Final = "left the conversation"
"""The texts of the actions `none` and `leave`."""
_DEFAULTS: Final = {"max_turn_number": 20, "max_stale_turn": 2}


class RuleBasedEvaluator(EvaluatorPlugin):
    """Ends a conversation after `max_turn_number` turns, more than `max_stale_turn` empty ones, or when one leaves."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        unknown = config.keys() - _DEFAULTS.keys()
        if unknown:
            raise ConfigError(f"rule_based knows no {min(unknown)!r}; known: {', '.join(_DEFAULTS)}")
        values = {**_DEFAULTS, **config}
        for name, value in values.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ConfigError(f"rule_based: {name} must be a whole number of 0 or more, not {value!r}")
        self.max_turn_number: int = values["max_turn_number"]
        self.max_stale_turn: int = values["max_stale_turn"]

    @property
    def plugin_type(self) -> str:
        return "rule_based"

    async def evaluate(self, turn_number: int, messages: list[tuple[str, Any]]) -> list[Entry]:
        """Whether the conversation is over, and each rule that says so."""
        reasons = [f"{sender} left" for sender, text in messages if sender != ENVIRONMENT and str(text) == LEFT]
        if turn_number >= self.max_turn_number:
            reasons.append(f"{turn_number} turns are done (max_turn_number {self.max_turn_number})")
        stale = _stale_turns(messages)
        if stale > self.max_stale_turn:
            reasons.append(f"nobody did anything for {stale} turns (max_stale_turn {self.max_stale_turn})")
        return [("environment", (("terminated", bool(reasons)), "; ".join(reasons) or "goes on"))]


def _stale_turns(messages: list[tuple[str, Any]]) -> int:
    """How many of the last turns were empty; where no turns are marked each message is one."""
    marked = any(_begins_turn(sender, text) for sender, text in messages)
    stale, acted = 0, 0
    for sender, text in reversed(messages):
        if _begins_turn(sender, text):
            stale, acted = stale + (acted > 0), 0
        elif sender == ENVIRONMENT:
            continue
        elif str(text) != NOTHING:
            return stale
        elif marked:
            acted += 1
        else:
            stale += 1
    return stale + (acted > 0)


def _begins_turn(sender: str, text: Any) -> bool:
    return sender == ENVIRONMENT and str(text).startswith(TURN)
