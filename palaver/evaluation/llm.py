"""The evaluator that asks a model, once, for every participant and every dimension. What it cannot give stays open."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from palaver.core.errors import ConfigError
from palaver.evaluation import sotopia
from palaver.evaluation.plugin import ENVIRONMENT, Entry, EvaluatorPlugin, Unscored
from palaver.models.model import LLMResponse, Model
from palaver.simulation.json_text import objects
from palaver.simulation.user_replies import without_thinking

logger = logging.getLogger(__name__)

_TOKENS_EACH: Final = 80
"""Tokens of an answer for one dimension of one participant: a sentence, a number and the JSON around them."""
_KNOWN: Final = ("dimensions", "max_tokens")


class Judge:
    """A model, asked greedily about a conversation that is over."""

    def __init__(self, model: Model, dimensions: Sequence[sotopia.Dimension], *, max_tokens: int = 0) -> None:
        self._model = model
        self._dimensions = dimensions
        self._max_tokens = max_tokens
        self.provenance: Mapping[str, str] = {
            "model": model.name,
            "prompt_hash": sotopia.prompt_hash(dimensions),
            "parser": sotopia.PARSER_VERSION,
        }

    async def evaluate(self, turn_number: int, messages: list[tuple[str, Any]]) -> list[Entry]:
        """One call for all participants; a score that cannot be had is `Unscored`, with the reason."""
        names = list(dict.fromkeys(sender for sender, _ in messages if sender != ENVIRONMENT))
        if not names:
            return []
        talk = "\n".join(_line(sender, text) for sender, text in messages)
        response = await self._model.complete(
            [{"role": "user", "content": sotopia.question(self._dimensions, talk, names)}],
            max_tokens=self._max_tokens or 256 + _TOKENS_EACH * len(names) * len(self._dimensions),
            temperature=0.0,
            seed=0,
        )
        answer, why = _answer(response, names)
        if why:
            logger.warning("judge %s: %s", self._model.name, why)
        return [self._entry(answer, name, dimension, why) for name in names for dimension in self._dimensions]

    def _entry(self, answer: Mapping[str, Any], name: str, dimension: sotopia.Dimension, why: str) -> Entry:
        if why:
            return name, ((dimension.name, Unscored(why)), why)
        score, reasoning = sotopia.read(answer, name, dimension)
        return name, ((dimension.name, score), reasoning)


def _line(sender: str, text: Any) -> str:
    """What one did, indented from its second line on: nobody's words can pass for another's, or for a turn's mark."""
    return str(text) if sender == ENVIRONMENT else f"{sender} {text}".replace("\n", "\n    ")


def _answer(response: LLMResponse, names: Sequence[str]) -> tuple[Mapping[str, Any], str]:
    """The judge's JSON, or why there is none."""
    if not response.success:
        return {}, f"the judge could not answer: {response.error}"
    if response.provenance.get("truncated_tokens") or response.provenance.get("trimmed_messages"):
        return {}, "the conversation is longer than the judge's context: it read only a part"
    for found in objects(without_thinking(response.content)):
        return found, ""
    cut = " (cut at the token limit)" if response.stop_reason == "length" else ""
    return {}, f"the judge's answer is no JSON object{cut}: {response.content[:120]!r}"


class LLMEvaluator(EvaluatorPlugin):
    """`llm`: Sotopia's dimensions (`dimensions: sotopia`, or a list of some), judged by `model` at the end."""

    needs_model: ClassVar[bool] = True
    every_turn: ClassVar[bool] = False

    def __init__(self, config: dict[str, Any], *, model: Model) -> None:
        super().__init__(config)
        unknown = config.keys() - set(_KNOWN)
        if unknown:
            raise ConfigError(f"llm knows no {min(unknown)!r}; known: {', '.join(_KNOWN)}")
        max_tokens = config.get("max_tokens", 0)
        if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 0:
            raise ConfigError(f"llm: max_tokens must be a whole number, not {max_tokens!r}")
        self.evaluator = Judge(model, sotopia.chosen(config.get("dimensions")), max_tokens=max_tokens)

    @property
    def plugin_type(self) -> str:
        return "llm"

    @property
    def provenance(self) -> Mapping[str, str]:
        """The judge's model, a hash of what it is asked, and the version of what reads its answer."""
        return self.evaluator.provenance

    async def evaluate(self, turn_number: int, messages: list[tuple[str, Any]]) -> list[Entry]:
        """Ask the judge now."""
        return await self.evaluator.evaluate(turn_number, messages)

    def get_terminal_evaluator(self) -> Judge:
        """The judge."""
        return self.evaluator
