"""Who sits in one client's process: from the flags, or a YAML list; each seat with its own personality and settings."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from palaver.cli.backends import prompt_text
from palaver.cli.common import read_text
from palaver.core.errors import ConfigError
from palaver.core.message import key_of
from palaver.core.names import tidy_name

_PERSONA: Final = (
    "You are {name}, talking with others in a chat room. Answer in one to three short sentences. "
    "Speak only for yourself and never put a name before your words."
)


class Seat(BaseModel):
    """One seat; the keys are those of the flags, and what is not said is as the flags say. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    prompt_file: str | None = None
    initial_prompt: str | None = None
    lora: str | None = None
    """The adapter that speaks here."""
    temperature: float | None = Field(default=None, ge=0)
    max_generation_tokens: int | None = Field(default=None, ge=1)
    history_length: int | None = Field(default=None, ge=0)
    delay: float | None = Field(default=None, ge=0)
    seed: int | None = None

    @property
    def persona(self) -> str:
        """Its system prompt; raises `ConfigError` naming a file that cannot be read."""
        texts = [prompt_text(self.prompt_file)] if self.prompt_file else []
        texts += [self.initial_prompt] if self.initial_prompt else []
        return "\n\n".join(texts) or _PERSONA.format(name=self.name)

    def setting(self, name: str, flags: argparse.Namespace) -> Any:
        """Its own, else that of the flags."""
        own = getattr(self, name)
        return getattr(flags, name) if own is None else own

    def adapter(self, flags: argparse.Namespace) -> str:
        """Its own, else the first of the flags; empty for none."""
        return self.lora if self.lora is not None else next(iter(flags.lora), "")


_seats = TypeAdapter(list[Seat])


def seats_of(flags: argparse.Namespace) -> list[Seat]:
    """Who sits where; raises `ConfigError`, and `ProtocolError` for a name that cannot be one."""
    seats = []
    if flags.name:
        seats.append(Seat(name=flags.name, prompt_file=flags.prompt_file, initial_prompt=flags.initial_prompt))
    for persona in flags.persona:
        name, colon, path = persona.partition(":")
        if not colon or not path:
            raise ConfigError(f"--persona {persona!r} must be NAME:FILE")
        seats.append(Seat(name=name, prompt_file=path))
    if flags.personas:
        seats += listed(flags.personas)
    seats = [seat.model_copy(update={"name": tidy_name(seat.name)}) for seat in seats]
    if len({key_of(seat.name) for seat in seats}) < len(seats):
        raise ConfigError("every seat needs a name of its own (--name, --persona, --personas)")
    return seats


def adapters_of(seats: Sequence[Seat], flags: argparse.Namespace) -> list[str]:
    """Every adapter that is to be loaded, each once."""
    return list(dict.fromkeys([*flags.lora, *(seat.lora for seat in seats if seat.lora)]))


def listed(path: Path) -> list[Seat]:
    """The list in a YAML file; raises `ConfigError`."""
    known = ", ".join(Seat.model_fields)
    try:
        raw = yaml.safe_load(read_text(path, "--personas"))
    except yaml.YAMLError as error:
        raise ConfigError(f"--personas {path} is no YAML: {error}") from error
    if not isinstance(raw, list) or not raw:
        raise ConfigError(f"--personas {path} must be a list of seats, each with: {known}")
    try:
        return _seats.validate_python(raw)
    except ValidationError as error:
        wrong = "; ".join(f"seat {each['loc'][0]}, {_key(each['loc'])}: {each['msg']}" for each in error.errors())
        raise ConfigError(f"--personas {path}: {wrong}; known keys: {known}") from error


def _key(location: tuple[int | str, ...]) -> str:
    return str(location[1]) if len(location) > 1 else "it"
