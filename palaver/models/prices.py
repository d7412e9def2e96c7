"""What tokens cost. List prices change: these are of mid-2025, and a caller's own go before them."""

from collections.abc import Mapping
from dataclasses import dataclass

from palaver.models.model import Usage

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens; `reused` is for prompt tokens from the provider's cache."""

    prompt: float
    completion: float
    reused: float | None = None
    """None: as `prompt`."""

    def of(self, usage: Usage) -> float:
        """The cost of one reply in US dollars."""
        reused = self.prompt if self.reused is None else self.reused
        fresh = usage.prompt_tokens - usage.reused_tokens
        total = fresh * self.prompt + usage.reused_tokens * reused + usage.completion_tokens * self.completion
        return total / _MILLION


PRICES: Mapping[str, Price] = {
    "gpt-4o": Price(2.50, 10.00, 1.25),
    "gpt-4o-mini": Price(0.15, 0.60, 0.075),
    "gpt-4.1": Price(2.00, 8.00, 0.50),
    "gpt-4.1-mini": Price(0.40, 1.60, 0.10),
    "gpt-4.1-nano": Price(0.10, 0.40, 0.025),
    "claude-sonnet-4-0": Price(3.00, 15.00, 0.30),
    "claude-opus-4-0": Price(15.00, 75.00, 1.50),
    "gemini-2.0-flash": Price(0.10, 0.40, 0.025),
    "meta-llama/Llama-3.3-70B-Instruct-Turbo": Price(0.88, 0.88),
}
