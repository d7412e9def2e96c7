"""Backends for clients that are killed: `--backend tests.chaos.backends:NAME`."""

import time
from collections.abc import Callable, Sequence

from palaver.models.model import Cancel, ChatMessage, LLMResponse
from palaver.models.scripted import ScriptedModel

WORDS = "so far so good"


def answering(name: str | None) -> ScriptedModel:
    """Answers at once."""
    return ScriptedModel([f"answer {number}" for number in range(100)])


def hanging(name: str | None) -> ScriptedModel:
    """Streams a few words and then never ends by itself."""
    return ScriptedModel([WORDS], cycle=True, hang=True)


class Stubborn(ScriptedModel):
    """Does not hear that it is to stop: it blocks its whole process."""

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 100,
        temperature: float = 0.7,
        stop: Sequence[str] = (),
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
        cancel: Cancel | None = None,
        cache_key: str = "",
    ) -> LLMResponse:
        """Sleeps with the event loop in its hands."""
        time.sleep(60)  # noqa: ASYNC251  # that is what it is for
        raise AssertionError("it was to be killed before")


def stubborn(name: str | None) -> Stubborn:
    """Blocks for a minute."""
    return Stubborn([WORDS])
