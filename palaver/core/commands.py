"""The moderator's commands: one table that the hub obeys, the console completes and the help prints.

A command is typed `/verb arguments`; a line that begins with `//` is a message that begins with `/`. Names may be
whole, quoted, or a unique prefix.
"""

import contextlib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from palaver.core.errors import CommandError
from palaver.core.message import key_of

Kind = Literal["name", "names", "duration", "number", "word", "text", "pairs", "seq", "toggle"]
"""What an argument is: `names` takes all that follow, `text` and `pairs` the rest of the line."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command, as the usage line shows it."""

    name: str
    kind: Kind
    optional: bool = False
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = "|".join(self.choices) or ("KEY=VALUE" if self.kind == "pairs" else self.name.upper())
        shown += "…" if self.kind in ("names", "text", "pairs") else ""
        return f"[{shown}]" if self.optional else shown


@dataclass(frozen=True, slots=True)
class Spec:
    """One command. `where` says who carries it out; a destructive one is asked about once at a terminal."""

    verb: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    where: Literal["hub", "console"] = "hub"
    destructive: bool = False

    @property
    def usage(self) -> str:
        """E.g. `/mute NAME [DURATION]`."""
        return " ".join([f"/{self.verb}", *map(str, self.arguments)])


@dataclass(frozen=True, slots=True)
class Parsed:
    """A command that was understood; `values` by argument name, absent ones left out."""

    spec: Spec
    values: dict[str, Any] = field(default_factory=dict)


def _spec(line: str, summary: str, where: Literal["hub", "console"] = "hub", *, destructive: bool = False) -> Spec:
    verb, *rest = line.split()
    arguments = []
    for word in rest:
        optional = word.endswith("?")
        name, _, kind = word.rstrip("?").partition(":")
        choices = tuple(kind.split("|")) if "|" in kind else ()
        arguments.append(Argument(name, "word" if choices else kind or name, optional, choices))  # type: ignore[arg-type]  # the table below holds Kinds only
    return Spec(verb, summary, tuple(arguments), where, destructive)


_TABLE = (
    _spec("pause names?", "silence everyone, or only those named"),
    _spec("resume names?", "end the silence"),
    _spec(
        "step number? epoch:number?",
        "let so many agent messages through (1), then pause again; with an epoch: unless somebody has steered since",
    ),
    _spec("stop name", "stop what one is generating"),
    _spec("mute name duration?", "one may not speak, for a time or until /unmute"),
    _spec("unmute name", "it may speak again"),
    _spec("deafen name toggle:on|off?", "one hears nothing more in its prompt"),
    _spec("kick name reason:text?", "remove one from the room", destructive=True),
    _spec("ban name duration?", "remove one and keep the name out", destructive=True),
    _spec("unban name:text", "let a banned name in again"),
    _spec("timeout name number?", "mute one for so many seconds (60)"),
    _spec("policy policy:word? pairs?", "show the floor policy, or set it with its parameters"),
    _spec("floor name count:text?", "give one the floor now, `for N` its next turns"),
    _spec("hands", "who asks for the floor"),
    _spec("grant name", "give the floor to a raised hand"),
    _spec("deny name", "lower a raised hand"),
    _spec("slow seconds:word", "seconds each agent waits between its messages, or off"),
    _spec("approve toggle:on|off", "hold agent messages until /ok"),
    _spec("ok ticket:word", "let a held message through, or `all`"),
    _spec("drop ticket:word", "throw a held message away, or `all`"),
    _spec("w name text", "whisper to one"),
    _spec("sys text", "say something as the system, for everybody's prompt"),
    _spec("sendas name text", "say something in another's name (marked as such)", destructive=True),
    _spec("topic text?", "show or set the topic"),
    _spec("pin seq", "pin a message"),
    _spec("unpin seq?", "unpin one, or all"),
    _spec("undo number?", "take back the last messages (1)", destructive=True),
    _spec("redact seq reason:text?", "take a message's text out", destructive=True),
    _spec("retry name", "take back its last message and let it answer again"),
    _spec("set name pairs", "temperature=… model=… persona=FILE delay=… history=… max_tokens=… at the next turn"),
    _spec("budget name pairs?", "messages=… tokens=… cost=… seconds=… for one, or `all` for the room"),
    _spec("hops number", "agent messages without a human until the room pauses itself (0: never)"),
    _spec("lease number", "seconds that a holder may take to answer"),
    _spec("alarm pairs?", "thresholds of the loop alarm, e.g. overlap=0.6 pause=on"),
    _spec("rooms", "rooms of this hub", "console"),
    _spec("switch room:word", "go to another room", "console"),
    _spec("who", "who is here", "console"),
    _spec("whois name", "what the room knows of one"),
    _spec("queue", "who is likely to be next"),
    _spec("status", "the floor in a few lines"),
    _spec("stats", "share of talk, tokens and latencies"),
    _spec("why seq", "why the author of a message had the floor"),
    _spec("toggle what:word?", "hide or show incoming messages, or: chat system deltas NAME", "console"),
    _spec("hide what:word?", "hide incoming messages, or: chat system deltas NAME", "console"),
    _spec("show what:word?", "show them again", "console"),
    _spec("ignore name", "hide one participant here", "console"),
    _spec("lastlog text", "search what was said", "console"),
    _spec("history number?", "the last messages again (20)", "console"),
    _spec("clear", "clear the screen", "console"),
    _spec("save file:word", "write the transcript to a file (.jsonl, .md, .html or .csv)", "console"),
    _spec("export file:word", "write the transcript to a file (.jsonl, .md, .html or .csv)", "console"),
    _spec("mark text", "put a note into the log"),
    _spec("score name dimension:word number", "record a score of one, by its dimension"),
    _spec("end text?", "end the conversation", destructive=True),
    _spec("help command:word?", "this list, or one command", "console"),
    _spec("quit", "leave", "console"),
)

COMMANDS: dict[str, Spec] = {spec.verb: spec for spec in _TABLE}


def spec_of(line: str) -> Spec:
    """The command that `line` begins with, also by unique prefix; raises `CommandError`."""
    verb = next(iter(line.lstrip("/").split(maxsplit=1)), "").lower()
    if verb in COMMANDS:
        return COMMANDS[verb]
    matches = [name for name in COMMANDS if verb and name.startswith(verb)]
    if len(matches) == 1:
        return COMMANDS[matches[0]]
    known = ", ".join(f"/{name}" for name in (matches or COMMANDS))
    raise CommandError(f"command '/{verb}' is {'ambiguous' if matches else 'unknown'}; known: {known}")


def parse(line: str, names: Sequence[str]) -> Parsed:
    """Understand a command line, given the names it may speak of; raises `CommandError` with the usage."""
    spec = spec_of(line)
    rest = line.lstrip("/").strip()
    rest = rest.split(maxsplit=1)[1] if len(rest.split(maxsplit=1)) > 1 else ""
    values: dict[str, Any] = {}
    for argument in spec.arguments:
        if not rest.strip():
            if not argument.optional:
                raise CommandError(f"usage: {spec.usage}")
            continue
        value, rest = _take(argument, rest.strip(), names, spec)
        if value is not None:
            values[argument.name] = value
    if rest.strip():
        raise CommandError(f"{rest.strip()!r} is too much; usage: {spec.usage}")
    return Parsed(spec, values)


def _take(argument: Argument, rest: str, names: Sequence[str], spec: Spec) -> tuple[Any, str]:
    match argument.kind:
        case "text":
            return rest, ""
        case "pairs":
            return parse_pairs(rest), ""
        case "name":
            extra = ("all",) if spec.verb == "budget" else ("room",) if spec.verb == "set" else ()
            return take_name(rest, [*names, *extra])
        case "names":
            found = []
            while rest:
                name, rest = take_name(rest, names)
                found.append(name)
                rest = rest.strip(" ,")
            return found, ""
    word, rest = _word(rest)
    if argument.choices and word not in argument.choices:
        raise CommandError(f"{word!r} must be one of {', '.join(argument.choices)}; usage: {spec.usage}")
    if argument.kind == "duration":
        return parse_duration(word), rest
    if argument.kind == "number":
        return _number(word, spec), rest
    if argument.kind == "seq":
        return int(_number(word.lstrip("#"), spec)), rest
    return word, rest


def _number(word: str, spec: Spec) -> float:
    try:
        number = float(word)
    except ValueError:
        raise CommandError(f"{word!r} is not a number; usage: {spec.usage}") from None
    if not -1e12 < number < 1e12:
        raise CommandError(f"{word!r} is out of range; usage: {spec.usage}")
    return number


def _word(rest: str) -> tuple[str, str]:
    quoted = re.match(r'"([^"]*)"\s*', rest)
    if quoted:
        return quoted[1], rest[quoted.end() :]
    word, _, rest = rest.partition(" ")
    return word, rest.strip()


def take_name(rest: str, names: Iterable[str]) -> tuple[str, str]:
    """The name that `rest` begins with, and what follows it: whole (longest first), quoted, or a unique prefix."""
    known = sorted(names, key=len, reverse=True)
    rest = rest.lstrip("@")
    if not rest.startswith('"'):
        for name in known:
            if key_of(rest[: len(name)]) == key_of(name) and rest[len(name) :][:1] in ("", " ", ","):
                return name, rest[len(name) :].strip()
    word, after = _word(rest)
    return resolve(word, known), after


def resolve(word: str, names: Iterable[str]) -> str:
    """The one name that is `word` or begins with it; raises `CommandError` that lists the candidates."""
    known = sorted(set(names))
    if not word:
        raise CommandError(f"a name is missing: {', '.join(known) or 'nobody'}")
    exact = [name for name in known if key_of(name) == key_of(word)]
    matches = exact or [name for name in known if key_of(name).startswith(key_of(word))]
    if len(matches) == 1:
        return matches[0]
    listed = ", ".join(matches or known) or "nobody"
    problem = "is ambiguous" if matches else "is not here; known"
    raise CommandError(f"name {word!r} {problem}: {listed}")


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(word: str) -> float:
    """Seconds of `30`, `30s`, `5m`, `2h` or `1d`; raises `CommandError`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h|d|)", word.lower())
    if not found or float(found[1]) <= 0:
        raise CommandError(f"duration {word!r} must look like 30s, 5m, 2h or 1d")
    return min(float(found[1]) * _UNITS[found[2]], 1e9)


def parse_pairs(text: str) -> dict[str, Any]:
    """`a=1 b=off c="two words"` as a mapping; numbers, on/off and JSON lists are read as such."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise CommandError(f"{text!r}: {error}") from error
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CommandError(f"{word!r} must look like name=value")
        pairs[name.replace("-", "_").lower()] = _value(value)
    return pairs


def pairs_text(pairs: Mapping[str, Any]) -> str:
    """Pairs as `parse_pairs` reads them."""
    return " ".join(shlex.quote(f"{name}={_value_text(value)}") for name, value in pairs.items())


def _value_text(value: Any) -> str:
    match value:
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case list():
            plain = all(isinstance(one, str) and "," not in one for one in value)
            return ",".join(value) if plain else msgspec.json.encode(value).decode()
    return str(value)


def _value(text: str) -> Any:
    if text.startswith("["):
        with contextlib.suppress(msgspec.DecodeError, UnicodeError, RecursionError):
            return msgspec.json.decode(text)
    if text.lower() in ("on", "true", "yes"):
        return True
    if text.lower() in ("off", "false", "no"):
        return False
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if -1e12 < number < 1e12 else text
    return text
