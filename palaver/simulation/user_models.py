"""Simulated users: an abstract one to extend, one over any model, one over OpenAI-compatible endpoints. Seed 0."""

from abc import ABC, abstractmethod
from typing import Any, Final

from palaver.core.errors import ModelError
from palaver.models import blocking, providers
from palaver.models.model import ChatMessage, LLMResponse, Messages, Model
from palaver.models.openai_api import OpenAIModel
from palaver.simulation.speakers import MAX_TOKENS, TEMPERATURE, ModelSpeaker
from palaver.simulation.views import for_user

SYSTEM_PROMPT: Final = (
    "You are simulating a user who talks with an AI assistant. Write only the user's next message, in the first "
    "person, and stay in that role. Once the user has what they came for, write [END] instead."
)
OPENING: Final = "(You speak first. Write the user's opening message.)"
"""What a user with nobody's words before it is prompted with: endpoints refuse a system message alone."""
GO_ON: Final = "(The conversation so far.)"

_USER_FIRST = frozenset({"anthropic", "gemini", "mistral"})
"""Providers that refuse a conversation whose first message is the assistant's, as a swapped one's is."""


class UserModel(ABC):
    """The user's side of a rollout. Subclasses implement `generate`; it runs in a thread of its own."""

    user_first = False
    """Whether the endpoint insists that the first message after the system prompt is a user's."""

    def __init__(self, system_prompt: str | None = None) -> None:
        self.system_prompt = system_prompt or SYSTEM_PROMPT

    @abstractmethod
    def generate(self, messages: list[dict[str, str]]) -> str:
        """The user's next message, given the conversation as the assistant sees it."""

    def _prepare_messages_for_user_perspective(self, messages: Messages) -> list[ChatMessage]:
        """The conversation from the user's chair: own system prompt first, user and assistant swapped."""
        prompt = for_user(messages, self.system_prompt)
        if len(prompt) == 1:
            return [*prompt, {"role": "user", "content": OPENING}]
        if self.user_first and prompt[1]["role"] == "assistant":
            return [prompt[0], {"role": "user", "content": GO_ON}, *prompt[1:]]
        return prompt


class SimulatedUser(UserModel):
    """A user played by any `Model`: local, behind an API, scripted."""

    def __init__(
        self,
        model: Model,
        system_prompt: str | None = None,
        *,
        temperature: float = TEMPERATURE,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        super().__init__(system_prompt)
        view = self._prepare_messages_for_user_perspective
        self.speaker = ModelSpeaker(model, view, max_tokens=max_tokens, temperature=temperature)
        self.name = model.name

    def generate(self, messages: list[Any]) -> str:
        """Ask and wait; raises `ModelError` where the model fails. May be empty."""
        return blocking.run(self.reply(messages)).content

    async def reply(self, messages: Messages, *, seed: int | None = None, conversation: str = "") -> LLMResponse:
        """Ask without blocking; as `Speaker.reply`."""
        return await self.speaker.reply(messages, seed=seed, conversation=conversation)

    def describe(self) -> dict[str, Any]:
        """The model, how it is sampled, and its instructions."""
        return {**self.speaker.describe(), "system_prompt": self.system_prompt}


class OpenAIUserModel(SimulatedUser):
    """A user played by a model behind an OpenAI-compatible endpoint, OpenAI's own by default.

    `model` may name a provider (`anthropic/claude-haiku-4-5`). The key is `api_key` or the provider's environment
    variable (`OPENAI_API_KEY`). `timeout` is how many seconds the endpoint may be silent; passing failures are
    tried again. Further keywords: `RemoteModel` (retry, limit, extra).
    """

    def __init__(
        self,
        model: str = "gpt-4o-mini",
        system_prompt: str | None = None,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        temperature: float = TEMPERATURE,
        max_tokens: int = MAX_TOKENS,
        timeout: float = 60.0,
        **settings: Any,
    ) -> None:
        provider, endpoint = _endpoint(model, base_url, api_key=api_key, timeout=timeout, **settings)
        super().__init__(endpoint, system_prompt, temperature=temperature, max_tokens=max_tokens)
        self.model = model
        self.user_first = provider in _USER_FIRST


def _endpoint(name: str, base_url: str | None, **settings: Any) -> tuple[str, Model]:
    """The provider that a name leads to, and its model; a name that leads nowhere is OpenAI's."""
    if base_url:
        return "", OpenAIModel(name, base_url=base_url, **settings)
    try:
        at = providers.route(name)
    except ModelError:
        return "openai", OpenAIModel(name, **settings)
    if at.provider == "hf":
        raise ModelError(f"{name} is a local model: use SimulatedUser(HFModel(...))")
    return at.provider, providers.api_model(at, **settings)
