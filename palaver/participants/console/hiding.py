"""What the moderator does not want to see just now; nothing of it is lost, and what matters is always shown."""

from dataclasses import dataclass, field

from palaver.core.commands import resolve
from palaver.core.message import Message, key_of, same_name
from palaver.core.protocol import Event, HubFrame, Presence, Streamed, System
from palaver.participants.console.clean import clean_name
from palaver.participants.console.completion import TOPICS


@dataclass(slots=True)
class Hiding:
    """Topics (`chat`, `system`, `deltas`) and participants that are hidden."""

    topics: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)

    def hides(self, frame: HubFrame, me: str) -> bool:
        """Whether `frame` stays unseen. One's own words, warnings, errors and alarms never do."""
        match frame:
            case Message():
                topic = "system" if frame.sender == "system" else "chat"
                return not same_name(frame.sender, me) and (topic in self.topics or key_of(frame.sender) in self.names)
            case Streamed():
                return bool(self.topics & {"chat", "deltas"}) or key_of(frame.sender) in self.names
            case Presence():
                return "system" in self.topics or key_of(frame.name) in self.names
            case System(level="info"):
                return "system" in self.topics
            case Event():
                return "system" in self.topics and frame.kind not in ("alarm", "held", "budget", "ended")
        return False

    def change(self, what: str, names: list[str], *, hide: bool | None) -> tuple[str, bool]:
        """Hide (`None`: the other way about) a topic or a participant; its whole name, and whether it is hidden now.

        Raises `CommandError` for what is neither.
        """
        if what.casefold() in TOPICS:
            topic = what.casefold()
            hidden = topic not in self.topics if hide is None else hide
            (self.topics.add if hidden else self.topics.discard)(topic)
            return topic, hidden
        name = resolve(what.strip('@"'), [*names, *self.names.values()])
        hidden = key_of(name) not in self.names if hide is None else hide
        if hidden:
            self.names[key_of(name)] = name
        else:
            self.names.pop(key_of(name), None)
        return clean_name(name), hidden

    def show_all(self) -> None:
        """Hide nothing any more."""
        self.topics.clear()
        self.names.clear()

    def hidden(self) -> list[str]:
        """All that is hidden, as it is shown."""
        return [*sorted(self.topics), *map(clean_name, self.names.values())]

    def __str__(self) -> str:
        return ", ".join(self.hidden())
