"""What Tab offers: commands, then for each argument of `commands.COMMANDS` what can stand there."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from palaver.core.alarm import DEFAULTS as ALARM
from palaver.core.commands import COMMANDS, Argument, Spec, spec_of, take_name
from palaver.core.errors import CommandError
from palaver.core.message import key_of, same_name
from palaver.core.policies import POLICIES
from palaver.core.steering.content import SETTINGS
from palaver.participants.console.clean import clean, clean_name, separate
from palaver.participants.console.view import RoomView

TOPICS: Final = ("chat", "system", "deltas")
"""What can be hidden, besides one participant."""
HIDING: Final = frozenset({"toggle", "hide", "show"})
_ALSO: Final[dict[str, tuple[str, ...]]] = {"budget": ("all",), "set": ("room",)}
_DURATIONS: Final = ("30s", "5m", "1h", "1d")


@dataclass(frozen=True, slots=True)
class Choice:
    """A text that can replace the last `behind` characters before the cursor."""

    text: str
    behind: int
    about: str = ""


def choices(typed: str, view: RoomView, rooms: Iterable[str] = ()) -> Iterable[Choice]:
    """What can stand at the end of `typed`, the text before the cursor."""
    if not typed.startswith("/") or typed.startswith("//"):
        return _named(typed, _others(view), in_message=True)
    verb, space, rest = typed[1:].partition(" ")
    if not space:
        return [
            Choice(f"/{spec.verb}" + (" " if spec.arguments else ""), len(typed), spec.summary)
            for spec in COMMANDS.values()
            if spec.verb.startswith(verb.lower())
        ]
    try:
        spec = spec_of(verb)
    except CommandError:
        return ()
    return _arguments(spec, rest.lstrip(), view, rooms)


def _others(view: RoomView) -> list[str]:
    return [clean_name(name) for name in view.names if not same_name(name, view.me)]


def _arguments(spec: Spec, rest: str, view: RoomView, rooms: Iterable[str]) -> Iterable[Choice]:
    """Go past the arguments that are complete; offer what the one under the cursor can be."""
    names = [*_others(view), *_ALSO.get(spec.verb, ())]
    before = ""
    for argument in spec.arguments:
        after = _past(argument, spec, rest, names)
        if after is None:
            if argument.kind == "pairs":
                return _pairs(spec, before, rest)
            return _offers(argument, spec, rest, names, view, rooms)
        before, rest = rest[: len(rest) - len(after)].strip(), after
    return ()


def _past(argument: Argument, spec: Spec, rest: str, names: list[str]) -> str | None:
    """What follows `argument` in `rest`, or `None` where the cursor is still in it."""
    if argument.kind in ("names", "text", "pairs") or spec.verb in HIDING:
        return None
    if argument.kind != "name":
        word, space, after = rest.partition(" ")
        return after.lstrip() if word and space else None
    typed = key_of(rest.lstrip('@"'))
    if any(key_of(name).startswith(typed) for name in names):  # also the prefixes that the hub would take for a name
        return None
    try:
        after = take_name(rest, names)[1]
    except CommandError:
        return None
    return after if after or rest.endswith(" ") else None


def _offers(
    argument: Argument, spec: Spec, rest: str, names: list[str], view: RoomView, rooms: Iterable[str]
) -> Iterable[Choice]:
    match argument.kind:
        case "name":
            return _starting(rest, names)
        case "names":
            return _named(rest, names)
        case "seq":
            return _numbers(rest, view)
        case "duration":
            return _starting(rest, _DURATIONS)
    if spec.verb in HIDING:
        return _starting(rest, [*TOPICS, *names])
    if spec.verb in ("save", "export"):
        return _paths(rest)
    if spec.verb == "policy":
        return [Choice(word, len(rest), one.summary) for word, one in POLICIES.items() if word.startswith(rest.lower())]
    words = {
        "ok": [*view.held, "all"],
        "drop": [*view.held, "all"],
        "slow": ["off"],
        "help": COMMANDS,
        "switch": rooms,
    }
    return _starting(rest, words.get(spec.verb, argument.choices))


def _starting(typed: str, words: Iterable[str]) -> list[Choice]:
    fragment = key_of(typed.lstrip('@"'))
    return [Choice(_quoted(word), len(typed)) for word in words if key_of(word).startswith(fragment)]


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name


def _named(typed: str, names: Iterable[str], *, in_message: bool = False) -> list[Choice]:
    """Names that a tail of `typed` begins, the longest tail first: after `/pause Ada, Zen S` it is Zen Sage."""
    names = list(names)
    for start in [0, *(place + 1 for place, character in enumerate(typed) if character in " ,\n")]:
        tail = typed[start:]
        fragment = key_of(tail.lstrip('@"'))
        if tail.startswith(" ") or (in_message and not tail):
            continue
        found = [name for name in names if key_of(name).startswith(fragment)]
        if found and in_message:
            return [Choice(f"@{_quoted(name)} " if tail[0] == "@" else f"{name} ", len(tail)) for name in found]
        if found:
            return [Choice(_quoted(name), len(tail)) for name in found]
    return []


def _pairs(spec: Spec, before: str, rest: str) -> Iterable[Choice]:
    typed = rest.rsplit(" ", 1)[-1]
    name, equals, value = typed.partition("=")
    if equals:
        return _paths(value) if name in ("persona", "file") else ()
    policy = POLICIES.get(before)
    known: dict[str, Iterable[str]] = {
        "set": SETTINGS,
        "alarm": ALARM,
        "budget": ("messages", "tokens", "cost", "seconds"),
        "policy": [*(policy.defaults if policy else ()), "delay", *(["file"] if before == "debate" else [])],
    }
    return [Choice(f"{word}=", len(typed)) for word in known.get(spec.verb, ()) if word.startswith(typed)]


def _numbers(typed: str, view: RoomView) -> Iterator[Choice]:
    """The last messages, newest first."""
    for message in list(view.messages.values())[:-51:-1]:
        if str(message.seq).startswith(typed.lstrip("#")):
            about = f"{clean_name(message.sender)}: {' '.join(separate(clean(message.content)).split())[:50]}"
            yield Choice(str(message.seq), len(typed), about)


def _paths(typed: str) -> Iterator[Choice]:
    folder, slash, start = typed.rpartition("/")
    try:
        found = sorted(Path(folder + slash or ".").expanduser().iterdir())
    except (OSError, RuntimeError):  # `~nobody/`: no home of that name
        return
    for path in found[:500]:
        if path.name.startswith(start) and (start or not path.name.startswith(".")):
            yield Choice(path.name + ("/" if path.is_dir() else ""), len(start))
