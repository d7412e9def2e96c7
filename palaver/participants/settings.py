"""How a participant speaks. Frozen: a turn keeps what it began with, `/set` makes the next turn's."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults are those of the model client (seed 2, row 2.12)."""

    persona: str = ""
    """The system prompt."""
    temperature: float = 0.7
    max_tokens: int = 100
    """Of a reply."""
    history: int = 5
    """Messages of the room in a prompt at most, 0 for all that are kept."""
    context_tokens: int = 0
    """Tokens of prompt and reply together by estimate; 0 leaves the limit to the model's backend."""
    delay: float = 0.0
    """Seconds between getting the floor and beginning to write, in which others are heard."""
    labels: bool = True
    """Whether the others' words bear their names in a prompt; a talk between two needs none."""
    seed: int | None = None
    """With a seed the replies of a run can be had again; the n-th reply is drawn with seed + n."""

    def told(self) -> dict[str, Any]:
        """For the hub's log: what `/set` changes, and what differs from the defaults."""
        all_of_it = asdict(self)
        return {name: value for name, value in all_of_it.items() if name in _SHOWN or value != getattr(_DEFAULTS, name)}

    @classmethod
    def from_told(cls, told: Mapping[str, Any]) -> "Settings":
        """What `told` said; names of a newer client are left alone, and what cannot be meant."""
        meant: dict[str, Any] = {name: told[name] for name, kind in _KINDS.items() if isinstance(told.get(name), kind)}
        return cls(**meant)

    def changed(self, told: Mapping[str, Any]) -> "Settings":
        """With what the room's `setting` event tells; names that are not ours, and no numbers, are left alone."""
        kinds = {"persona": str, "temperature": float, "max_tokens": int, "history": int, "delay": float}
        wanted = {
            name: kind(told[name]) for name, kind in kinds.items() if isinstance(told.get(name), int | float | str)
        }
        return replace(self, **wanted)


_DEFAULTS = Settings()
_SHOWN = ("temperature", "max_tokens", "history", "delay")
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "persona": str,
    "temperature": (int, float),
    "max_tokens": int,
    "history": int,
    "context_tokens": int,
    "delay": (int, float),
    "labels": bool,
    "seed": int,
}
