"""Personas of simulated users: a YAML file with a goal and a character becomes the user's system prompt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from palaver.core.errors import ConfigError


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Lines = Annotated[list[str], BeforeValidator(_several)]
"""A list of texts; one text is a list of one."""


class Persona(BaseModel):
    """Who the simulated user is. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "User"
    goal: str = Field(min_length=1)
    """What the user wants to have at the end."""
    traits: Lines = []
    knowledge: Lines = []
    """What the user knows (or does not)."""
    patience: int | None = Field(default=None, ge=1)
    """Turns after which the user gives up."""
    style: str = ""
    """How the user writes."""
    first_message: str = ""
    """What the user says first, word for word; empty: the model finds words."""
    end_signal: str = "[END]"
    json_replies: bool = False
    """Ask for JSON with `current_answer`, `thought` and `response`: the thinking stays apart from the words."""

    def system_prompt(self) -> str:
        """The instructions for the model that plays this user."""
        parts = [
            f"You are {self.name}, a person who talks with an AI assistant. You are never the assistant: write only "
            f"the next message that {self.name} would type, and nothing else.",
            f"What you want: {self.goal}",
            _listed("Your character", self.traits),
            _listed("What you know", self.knowledge),
            f"How you write: {self.style}" if self.style else "",
            "Say one thing at a time, and not more than you were asked for. You do not know the answer yourself; do "
            "not do the assistant's work. You may be vague, change your mind or make mistakes, as people do.",
            self._ending(),
            _JSON if self.json_replies else "",
        ]
        return "\n\n".join(part for part in parts if part)

    def _ending(self) -> str:
        gives_up = f", or after about {self.patience} messages without progress" if self.patience else ""
        return f"When you have what you want{gives_up}, end the conversation by writing {self.end_signal}"


_JSON = (
    'Answer with JSON alone: {"current_answer": "the answer as you understand it so far", "thought": "what you think '
    'and do not say", "response": "what you type"}'
)


def load(path: Path | str) -> Persona:
    """The persona in a YAML file; raises `ConfigError` that names file and key."""
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot read the persona {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"the persona {path} is no YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"the persona {path} must hold keys and values: {', '.join(Persona.model_fields)}")
    try:
        return Persona.model_validate(raw)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ConfigError(f"the persona {path}: {wrong}; known keys: {', '.join(Persona.model_fields)}") from error


def _listed(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{title}:", *(f"- {line}" for line in lines)]) if lines else ""
