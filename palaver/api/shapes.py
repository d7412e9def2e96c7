"""What the HTTP API takes and gives, as pydantic models: the OpenAPI document is made from these."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from palaver.api.plan import Status
from palaver.core.errors import ProtocolError
from palaver.core.limits import MOST_TURNS
from palaver.core.names import MAX_NAME, tidy_name
from palaver.core.protocol import MAX_CONTENT
from palaver.scenes.scene import ActionOrder

MOST_AGENTS: Final = 50


def _name(name: str) -> str:
    try:
        return tidy_name(name)
    except ProtocolError as error:
        raise ValueError(str(error)) from error


def _number(value: object) -> object:
    """Neither text nor truth is a number, whatever it could be read as."""
    if isinstance(value, str | bool):
        raise ValueError("must be a number")
    return value


class _Told(BaseModel):
    """What stands below a field is its description in the document."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class _Strict(_Told):
    model_config = ConfigDict(extra="forbid", frozen=True)


IS_NUMBER: Final = BeforeValidator(_number)
"""Comes last: what is said before it stands in the document."""
Truth = Annotated[bool, Field(strict=True)]


MOST_WORDS: Final = 20_000
Words = Annotated[str, Field(max_length=MOST_WORDS)]


def _profile(fields: dict[str, Any]) -> dict[str, Any]:
    """No longer, as JSON, than a profile in words may be."""
    try:
        length = len(json.dumps(fields, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as error:
        raise ValueError(f"holds what JSON in UTF-8 cannot say: {error}") from error
    if length > MOST_WORDS:
        raise ValueError(f"has {length} bytes as JSON; {MOST_WORDS} are the most")
    return fields


Profile = Words | Annotated[dict[str, Any], AfterValidator(_profile)]


class AgentRequest(_Strict):
    """One who takes part. A human joins the conversation's room on the hub under this name."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_name)]
    type: Literal["llm", "human"] = "llm"
    model: str | None = None
    """Id of one of the server's models; without it the conversation's."""
    goal: Words = ""
    secret: Words = ""
    profile: Profile = ""
    speaking_id: Annotated[int, Field(ge=0), IS_NUMBER] | None = None


class ConversationRequest(_Strict):
    """A conversation to be held."""

    agent_configs: Annotated[list[AgentRequest], Field(min_length=1, max_length=MOST_AGENTS)]
    scenario: Words = ""
    relationship: Annotated[int, Field(ge=0, le=5), IS_NUMBER] | Annotated[str, Field(max_length=1000)] | None = None
    """0 (strangers) to 5 (family), or words."""
    model_name: str | None = None
    """For agents that name no model; else the server's default."""
    max_turns: Annotated[int, Field(ge=1, le=MOST_TURNS), IS_NUMBER] | None = None
    """As the server's config has it where it is not given."""
    action_order: ActionOrder | None = None
    """Who acts in a turn, and when; as the config has it where it is not given."""
    speaking_order: list[Annotated[int, IS_NUMBER]] | None = None
    """For `agent_id_based`: the agents' places in `agent_configs` (or their `speaking_id`) in the order of speaking."""
    enable_evaluation: Truth = True
    """False: evaluators that need a model are not called at the end."""
    seed: Annotated[int, Field(ge=0, lt=2**63), IS_NUMBER] | None = None
    """Of the random order and the replies."""
    background: Truth = True
    """False: the answer comes when the conversation is over."""

    @model_validator(mode="after")
    def _names_differ(self) -> "ConversationRequest":
        names = [agent.name.casefold() for agent in self.agent_configs]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two agents are called {name!r}; letter case does not count")
        return self


class CommandRequest(_Strict):
    """A moderator's command as typed at the console, e.g. `/pause Alice`."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_CONTENT)]


class CommandAnswer(_Told):
    """What a command did."""

    text: str
    changed: dict[str, Any] | None = None


class Spoken(_Told):
    """A message of the conversation, as it is on the wire."""

    model_config = ConfigDict(populate_by_name=True)

    seq: int
    id: str
    sender: Annotated[str, Field(alias="from")]
    role: str
    to: str | None
    content: str
    timestamp: str
    turn: int | None
    meta: dict[str, Any] | None
    redacted: str | None


class ConversationSummary(_Told):
    """A conversation in a few figures."""

    conversation_id: str
    room: str
    """The room on the hub: a moderator joins it to watch and steer."""
    status: Status
    error: str | None
    """Why it failed."""
    agents: list[str]
    agent_count: int
    model_used: str
    scenario: str
    max_turns: int
    turn_count: int
    created: datetime
    ended: datetime | None
    reasoning: str
    """Why it ended, and what the evaluators said."""


class ConversationView(ConversationSummary):
    """A conversation with all that was said."""

    models: dict[str, str]
    """The model of each agent."""
    messages: list[Spoken]
    results: dict[str, Any]
    """By agent: scores by dimension with their reasoning, or why there is none."""
    statistics: dict[str, Any]
    """Figures that need no model: share of talk, who follows whom, repetition."""


class ModelView(_Told):
    """A model of this server."""

    name: str
    type: str
    healthy: bool | None
    """Whether its last reply succeeded; null before the first. Nothing is generated to find out."""
    last_error: str | None
    config: dict[str, Any]
    """Its settings, without secrets."""


class Health(_Told):
    """How the server is."""

    status: Literal["healthy"]
    version: str
    hub: str
    """The hub's websocket URL."""
    rooms: int
    running: int
    """Conversations that run now."""
    waiting: int
    """How many of these have yet to begin: they do one after another, as fast as the server keeps up."""
    server_config: dict[str, Any]


class Problem(_Told):
    """Why a request was refused."""

    detail: str


def moment(seconds: float) -> datetime:
    """A time for JSON, from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)
