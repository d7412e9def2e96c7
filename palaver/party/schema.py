"""What a party file may say. Keys that are no setting of the launcher's own are flags of the door they stand under."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from palaver.config.layers import described
from palaver.config.loading import Document, KeyPath
from palaver.core.errors import ConfigError

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class Entry(BaseModel):
    """One process: where and how it runs, and the flags of its door."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    python: str | None = None
    """The interpreter; None: this one, `python3` on another machine."""
    dir: str | None = None
    """The folder it starts in; None: where `palaver up` was called, the home folder on another machine."""
    env: dict[str, str] = Field(default_factory=dict)

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

    @field_validator("tunnel", mode="before")
    @classmethod
    def _is_port(cls, value: Any) -> Any:
        if not isinstance(value, bool | int):
            raise ValueError(f"must be true, false or a port, not {value!r}")
        return value


class PartyFile(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]
    room: str = "main"
    server: Server = Server()
    clients: list[Member] = Field(default_factory=list)
    user_sims: list[Member] = Field(default_factory=list)
    moderator: Entry | None = None
    ssh_options: list[str] = Field(default_factory=list)
    """Put before the host in every call of ssh, e.g. `[-F, my_ssh_config]`."""

    @field_validator("moderator", mode="before")
    @classmethod
    def _yes_or_no(cls, value: Any) -> Any:
        if not isinstance(value, bool | dict):
            raise ValueError(f"must be true, false or settings, not {value!r}")
        return {True: {}, False: None}[value] if isinstance(value, bool) else value


def party_file(document: Document, *, name: str) -> PartyFile:
    """The file as it was read; `name` where it has none of its own. Raises `ConfigError`, a line for each error."""
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
