"""What a participant's model is asked, from the room as it has it before its eyes: a pure function of both."""

from typing import Final

from palaver.core.message import Role
from palaver.core.prompt import Prompt, seen_by
from palaver.core.protocol import Grant
from palaver.participants.settings import Settings
from palaver.participants.view import RoomView

OPENING: Final = "(Nobody has spoken yet. Open the conversation.)"
"""What a participant is asked with that has the floor and nobody's words before it."""


def prompt_for(grant: Grant, room: RoomView, settings: Settings, *, name: str, role: Role) -> Prompt:
    """The prompt of one turn."""
    tokens = max(settings.context_tokens - settings.max_tokens, 1) if settings.context_tokens else 0
    prompt = seen_by(
        name,
        room.messages,
        role=role,
        persona=settings.persona,
        history=settings.history,
        max_tokens=tokens,
        names=room.names(),
        labels=settings.labels,
    )
    if grant.purpose == "select":
        _ask(prompt, "Who should speak next? Answer with exactly one name of: " + ", ".join(grant.choices))
    elif not any(message["role"] == "user" for message in prompt.messages):
        _ask(prompt, OPENING)
    return prompt


def _ask(prompt: Prompt, question: str) -> None:
    """Put a question of our own at the prompt's end."""
    if prompt.messages and prompt.messages[-1]["role"] == "user":
        prompt.messages[-1]["content"] += "\n" + question
    else:
        prompt.messages.append({"role": "user", "content": question})
