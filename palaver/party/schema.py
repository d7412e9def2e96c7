"""What a party file may say. Keys that are no setting of the launcher's own are flags of the door they stand under."""

import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from palaver.config.layers import described
from palaver.config.loading import Document, KeyPath
from palaver.core.errors import ConfigError, ProtocolError
from palaver.core.names import room_name

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


_A_CONFIG_S: Final = frozenset({"models", "evaluators", "api"})
"""Keys by which the file of `palaver.api` is known."""


class Entry(BaseModel):
    """One process: where and how it runs, and the flags of its door."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    python: str | None = None
    """The interpreter; None: this one, `python3` on another machine."""
    dir: str | None = None
    """The folder it starts in; None: where `palaver up` was called, the home folder on another machine."""
    env: dict[str, str] = Field(default_factory=dict)

    @field_validator("env")
    @classmethod
    def _are_variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} cannot be a variable: letters, digits and underscores, no digit first")
        return value

    @property
    def flags(self) -> dict[str, Any]:
        """What is left for the door."""
        return {key: value for key, value in (self.model_extra or {}).items() if value is not None}


class Server(Entry):
    """The hub."""

    url: str | None = None
    """A hub that runs already: none is started."""


class Member(Entry):
    """A model client or a simulated user."""

    name: Name
    host: str | None = None
    """Another machine, as ssh knows it."""
    tunnel: bool | Port = False
    """Reach the hub through the ssh connection; a number is the port that it gets over there."""
    replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """So many of it: NAME 1, NAME 2, …"""

    @field_validator("host")
    @classmethod
    def _is_no_option(cls, value: str | None) -> str | None:
        if value is not None and (not value or value.startswith("-") or " " in value):
            raise ValueError(f"must be a machine as ssh knows it, not {value!r}")
        return value

    @field_validator("tunnel", mode="before")
    @classmethod
    def _is_port(cls, value: Any) -> Any:
        if not isinstance(value, bool | int):
            raise ValueError(f"must be true, false or a port, not {value!r}")
        return value


class PartyFile(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    name: str
    room: str = "main"
    server: Server = Server()
    clients: list[Member] = Field(default_factory=list)
    user_sims: list[Member] = Field(default_factory=list)
    moderator: Entry | None = None
    ssh_options: list[str] = Field(default_factory=list)
    """Put before the host in every call of ssh, e.g. `[-F, my_ssh_config]`."""

    @field_validator("name")
    @classmethod
    def _is_file_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", value):
            told = "must have 1 to 40 letters, digits, dashes and underscores, and begin with one of the first two"
            raise ValueError(f"{told}, not {value!r}")
        return value

    @field_validator("room")
    @classmethod
    def _is_room(cls, value: str) -> str:
        try:
            return room_name(value)
        except ProtocolError as error:
            raise ValueError(str(error)) from error

    @field_validator("moderator", mode="before")
    @classmethod
    def _yes_or_no(cls, value: Any) -> Any:
        if not isinstance(value, bool | dict):
            raise ValueError(f"must be true, false or settings, not {value!r}")
        return {True: {}, False: None}[value] if isinstance(value, bool) else value


def party_file(document: Document, *, name: str) -> PartyFile:
    """The file as it was read; `name` where it has none of its own. Raises `ConfigError`, a line for each error."""
    if not _A_CONFIG_S.isdisjoint(document.raw):
        told = f"python -m palaver.api -c {document.name} runs it, palaver check {document.name} checks it"
        raise ConfigError(f"{document.name} is a conversation server's config: {told}")
    said = {key: value for key, value in document.values.items() if value is not None}  # a heading alone says nothing
    try:
        return PartyFile.model_validate({"name": name, **said})
    except ValidationError as error:
        raise ConfigError(described(error, document, _section_at)) from None


def _section_at(path: KeyPath) -> type[BaseModel]:
    match path[:1]:
        case ("clients",) | ("user_sims",):
            return Member
        case ("server",):
            return Server
        case ("moderator",):
            return Entry
    return PartyFile
