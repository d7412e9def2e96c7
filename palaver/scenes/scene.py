"""A scene: who is in it, what each wants and hides, where it plays, and in which order they act. Plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from palaver.core.errors import ConfigError, ProtocolError
from palaver.core.lookalikes import skeleton
from palaver.core.message import key_of
from palaver.core.names import tidy_name
from palaver.evaluation.plugin import ENVIRONMENT
from palaver.scenes.actions import TYPES, ActionType

RELATIONSHIPS: Final = ("stranger", "know by name", "acquaintance", "friend", "romantic relationship", "family member")
"""Sotopia's levels 0 to 5."""
_PRIVATE: Final = frozenset({"secret", "goal"})
"""Fields of a profile that only its owner may see, whatever the relationship."""
_PUBLIC: Final = frozenset({"age", "gender", "pronoun", "occupation", "public_info", "text"})
"""What acquaintances know; friends know all but what is private."""
_HIDDEN: Final = frozenset({"speaking_id", "tag", "first_name", "last_name"})
"""Of no use in a prompt."""

ActionOrder = Literal["simultaneous", "round-robin", "sequential", "random", "agent_id_based"]
ORDERS: Final[tuple[ActionOrder, ...]] = get_args(ActionOrder)


@dataclass(frozen=True, slots=True)
class Agent:
    """One who takes part: a model (by id), or without one a person who joins the room under this name."""

    name: str
    model: str | None = None
    goal: str = ""
    secret: str = ""
    profile: str | Mapping[str, Any] = ""
    """Free text, or fields: age, occupation, gender, pronoun, public_info, big_five, moral_values, … and any others."""
    speaking_id: int | None = None
    temperature: float = 0.7
    max_tokens: int = 300

    @property
    def fields(self) -> dict[str, str]:
        """The profile without what is private or of no use in a prompt."""
        given = {"text": self.profile} if isinstance(self.profile, str) else self.profile
        hidden = _PRIVATE | _HIDDEN
        return {key: _text(value) for key, value in given.items() if key not in hidden and value not in ("", None, [])}

    @property
    def hides(self) -> str:
        """Its secret, also where it stands in its profile."""
        return self.secret or self._private("secret")

    @property
    def wants(self) -> str:
        """Its goal, also where it stands in its profile."""
        return self.goal or self._private("goal")

    def _private(self, name: str) -> str:
        return str(self.profile.get(name) or "") if isinstance(self.profile, Mapping) else ""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a conversation starts from. `relationship` holds for every pair that `pairs` does not name."""

    agents: Sequence[Agent]
    scenario: str = ""
    max_turns: int = 20
    order: ActionOrder = "round-robin"
    speaking_order: Sequence[int] = ()
    """For `agent_id_based`: `speaking_id`s, or places in `agents` where those are not given."""
    relationship: int | str | None = None
    """0 to 5, one of `RELATIONSHIPS`, or words of one's own."""
    pairs: Mapping[tuple[str, str], int | str] = field(default_factory=dict)
    actions: Sequence[ActionType] = TYPES
    seed: int | None = None
    """Of the random order, and of the replies."""

    def __post_init__(self) -> None:
        for agent in self.agents:
            if _tidy(agent.name) != agent.name:
                raise ConfigError(f"agent {agent.name!r} must be written {_tidy(agent.name)!r}")
        names = [agent.name for agent in self.agents]
        if not names or len(set(map(skeleton, names))) < len(names):
            raise ConfigError(f"agents need names that nobody confuses: {', '.join(names) or 'there are none'}")
        if key_of(ENVIRONMENT) in map(key_of, names):
            raise ConfigError(f"no agent can be called {ENVIRONMENT}: evaluators know the surroundings by that name")
        if self.order not in ORDERS:
            raise ConfigError(f"action order {self.order!r} is unknown; known: {', '.join(ORDERS)}")
        if self.max_turns < 1:
            raise ConfigError(f"max_turns must be at least 1, not {self.max_turns}")
        for action in self.actions:
            if action not in TYPES:
                raise ConfigError(f"action type {action!r} is unknown; known: {', '.join(TYPES)}")
        for relationship in (self.relationship, *self.pairs.values()):
            if isinstance(relationship, int) and not 0 <= relationship < len(RELATIONSHIPS):
                raise ConfigError(f"relationship {relationship} must be 0 to {len(RELATIONSHIPS) - 1}")
        self.in_order()

    def in_order(self) -> list[str]:
        """The agents' names in the order of speaking; raises `ConfigError` where `speaking_order` fits nobody."""
        if self.order != "agent_id_based":
            return [agent.name for agent in self.agents]
        ids = {place if one.speaking_id is None else one.speaking_id: one for place, one in enumerate(self.agents)}
        wanted = list(self.speaking_order) or sorted(ids)
        if sorted(wanted) != sorted(ids) or len(ids) < len(self.agents):
            raise ConfigError(f"speaking_order {wanted} must name each agent once; ids: {sorted(ids)}")
        return [ids[number].name for number in wanted]

    def between(self, one: str, other: str) -> int | str | None:
        """How the two stand to each other."""
        for (first, second), relationship in self.pairs.items():
            if {key_of(first), key_of(second)} == {key_of(one), key_of(other)}:
                return relationship
        return self.relationship


def known_of(agent: Agent, relationship: int | str | None) -> dict[str, str]:
    """What somebody in that relationship knows of an agent: never its secret or goal."""
    level = RELATIONSHIPS.index(relationship) if relationship in RELATIONSHIPS else relationship
    if isinstance(level, int) and level < 2:
        return {}
    everything = isinstance(level, int) and level > 2
    return {key: value for key, value in agent.fields.items() if everything or key in _PUBLIC}


def in_words(relationship: int | str | None) -> str:
    """A relationship as a prompt names it."""
    return RELATIONSHIPS[relationship] if isinstance(relationship, int) else relationship or ""


def _tidy(name: str) -> str:
    try:
        return tidy_name(name)
    except ProtocolError as error:
        raise ConfigError(str(error)) from error


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
