"""A model that judges: it is asked for JSON with a number from 0 to 1, and what it cannot give stays unscored."""

import logging
from dataclasses import dataclass
from typing import Final

from palaver.models.model import Model
from palaver.simulation.json_text import objects
from palaver.simulation.user_replies import without_thinking

logger = logging.getLogger(__name__)

_MAX_TOKENS: Final = 1024
_SHOWN: Final = 120


@dataclass(frozen=True, slots=True)
class Verdict:
    """A number and the judge's reason, or None and why there is none."""

    value: float | None
    reason: str


class Judge:
    """Asks `model` greedily, and once more with another seed where no number came."""

    def __init__(self, model: Model, *, attempts: int = 2) -> None:
        self._model = model
        self._attempts = attempts

    async def number(self, question: str, name: str) -> Verdict:
        """The number that the judge gives under `name` in its JSON."""
        verdict = Verdict(None, "the judge was not asked")
        for attempt in range(self._attempts):
            verdict = await self._ask(question, name, attempt)
            if verdict.value is not None:
                return verdict
            logger.warning("judge %s: %s", self._model.name, verdict.reason)
        return verdict

    async def _ask(self, question: str, name: str, attempt: int) -> Verdict:
        reply = await self._model.complete(
            [{"role": "user", "content": question}],
            max_tokens=_MAX_TOKENS,
            temperature=0.0 if attempt == 0 else 0.7,
            seed=attempt,
        )
        if not reply.success:
            return Verdict(None, f"the judge could not answer: {reply.error}")
        for fields in objects(without_thinking(reply.content)):
            value = fields.get(name)
            if isinstance(value, bool):
                value = int(value)
            if isinstance(value, int | float) and 0 <= value <= 1:
                return Verdict(float(value), str(fields.get("reason", "")))
        return Verdict(None, f"no {name!r} from 0 to 1 in the judge's answer: {reply.content[:_SHOWN]!r}")
