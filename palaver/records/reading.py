"""Conversations back from paper: transcripts, OpenAI's messages and IRC logs, line by line."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from palaver.core.errors import PalaverError
from palaver.core.message import Message, Role

EPOCH: Final = "1970-01-01T00:00:00.000Z"
"""The time of what came without one."""
_CLOCK: Final = r"(?P<time>(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?)"
_STAMP: Final = rf"(?:\[?(?:(?P<date>\d{{4}}-\d\d-\d\d)[T ])?{_CLOCK}(?:\.\d+)?Z?\]?\s+)?"
_SAID: Final = re.compile(_STAMP + r"<[ @+%&~!]?(?P<nick>[^>\s]+)>(?: (?P<text>.*))?$")
_DID: Final = re.compile(_STAMP + r"\*\s+(?P<nick>[^\s*]+) (?P<text>.+)$")
_COLUMN: Final = rf"(?P<date>\d{{4}}-\d\d-\d\d) {_CLOCK}\t\s*"
_WEECHAT_SAID: Final = re.compile(_COLUMN + r"[@+%&~!]?(?P<nick>[^\s<>*=\-][^\s]*)\t(?P<text>.*)$")
_WEECHAT_DID: Final = re.compile(_COLUMN + r"\*\s*\t(?P<nick>\S+) (?P<text>.+)$")
_NOTICE: Final = re.compile(_STAMP + r"(?:-!-|-->|<--|--|===|\*\*\*)|" + r"\d{4}-\d\d-\d\d [\d:]{8}\t")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ROLES: Final = {"assistant": "model", "user": "moderator", "system": "moderator", "developer": "moderator"}


def from_openai(lines: Iterable[str], *, room: str, assistant: str = "Assistant", user: str = "User") -> list[Message]:
    """Messages of chat requests, one JSON object with `messages` a line; or a file that is one JSON value: such an
    object, its list of messages, or a list of such objects.

    A message's `name` is its author; without one it is the `assistant` or the `user`, or, where every turn of the
    user begins `Name: `, the one that its label names. Raises `PalaverError` that names the line.
    """
    said: list[tuple[str, Role, str]] = []
    for where, content in _values(list(lines)):
        said += _rows_of(content, where, assistant, user)
    return [_message(room, seq, *one) for seq, one in enumerate(said, 1)]


def _values(lines: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """The JSON values of a file, and where each stands."""
    try:
        whole = json.loads("\n".join(lines))
    except (ValueError, RecursionError):
        yield from ((f"line {number}", _value(line, number)) for number, line in enumerate(lines, 1) if line.strip())
        return
    if isinstance(whole, list) and any(isinstance(each, dict) and "messages" in each for each in whole):
        yield from ((f"object {number}", each) for number, each in enumerate(whole, 1))
    else:
        yield "line 1", whole


def _value(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PalaverError(f"line {number} is no JSON: {error}") from error


def _rows_of(content: Any, where: str, assistant: str, user: str) -> list[tuple[str, Role, str]]:
    messages = content.get("messages") if isinstance(content, dict) else content
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise PalaverError(f"{where} must be an object with `messages`, a list of objects")
    authors = _labels(messages, where)
    found: list[tuple[str, Role, str]] = []
    for message in messages:
        text, role = _text_of(message, where), message.get("role")
        if role not in _ROLES:
            raise PalaverError(f"{where}: role {role!r} is unknown; known: {', '.join(_ROLES)}")
        if role in ("system", "developer"):
            found.append(("system", "moderator", text))
        elif isinstance(name := message.get("name"), str) and name:
            found.append((name, "model" if role == "assistant" else "moderator", text))
        elif role == "user" and authors:
            found += [(name, "moderator", said) for name, said in _by_label(text, authors)]
        else:
            found.append((assistant, "model", text) if role == "assistant" else (user, "moderator", text))
    return [one for one in found if one[2].strip()]


def _text_of(message: Mapping[str, Any], where: str) -> str:
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise PalaverError(f"{where}: `content` must be text, not {type(content).__name__}")
    return content


def _labels(messages: Sequence[Mapping[str, Any]], where: str) -> list[str]:
    """The names that turns of the user begin with, where all of them begin with one; longest first."""
    turns = [message for message in messages if message.get("role") == "user" and not message.get("name")]
    found = [re.match(r"([^\n:]{1,64}): ", _text_of(message, where)) for message in turns]
    names = {each[1] for each in found if each is not None}
    return sorted(names, key=len, reverse=True) if found and None not in found else []


def _by_label(text: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """A merged turn taken apart at lines that begin with a name."""
    pattern = re.compile(rf"^({'|'.join(map(re.escape, names))}): ", re.MULTILINE)
    marks = list(pattern.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text) + 1]
    return [(mark[1], text[mark.end() : end - 1]) for mark, end in zip(marks, ends, strict=True)]


def from_irc(lines: Iterable[str], *, room: str) -> list[Message]:
    """Messages of an IRC log as irssi and WeeChat write it: `12:34 <nick> text`, `12:34 * nick waves`.

    Joins, parts and notices of the network are left out. Raises `PalaverError` that names a line that is none of it.
    """
    said: list[Message] = []
    day = ""
    for number, raw in enumerate(lines, 1):
        line = re.sub(r"[\x02\x0f\x11\x16\x1d-\x1f]|\x03(?:\d{1,2}(?:,\d{1,2})?)?", "", raw.rstrip("\r\n"))
        if opened := re.match(r"--- (?:Log opened|Day changed) (?P<rest>.+)$", line):
            day = _day(opened["rest"])
            continue
        found, action = _spoken(line)
        if found is None:
            if line.strip() and not _NOTICE.match(line):
                raise PalaverError(f"line {number} is no line of an IRC log: {line[:60]!r}; like `12:34 <nick> text`")
            continue
        text = f"*{found['text']}*" if action else found["text"] or ""
        if text.strip():
            at = _stamp(found["date"] or day, found["time"])
            said.append(_message(room, len(said) + 1, found["nick"], "moderator", text, at))
    return said


def _spoken(line: str) -> tuple[re.Match[str] | None, bool]:
    """What a line says, and whether it is an action; None for what is no message."""
    for form, action in ((_WEECHAT_SAID, False), (_WEECHAT_DID, True), (_SAID, False), (_DID, True)):
        if found := form.match(line):
            return found, action
    return None, False


def _day(text: str) -> str:
    """The date of irssi's `Tue Mar 05 10:00:00 2024`; empty where it is another form."""
    found = re.match(r"\w{3} (?P<month>\w{3}) +(?P<day>\d{1,2})(?: [\d:]+)? (?P<year>\d{4})", text)
    if found is None or found["month"].lower() not in _MONTHS:
        return ""
    return f"{found['year']}-{_MONTHS.index(found['month'].lower()) + 1:02d}-{int(found['day']):02d}"


def _stamp(day: str | None, time: str | None) -> str:
    hour, minute, *rest = (time or "0:00").split(":")
    stamp = f"{day or EPOCH[:10]}T{int(hour):02d}:{minute}:{rest[0] if rest else '00'}.000Z"
    try:
        datetime.fromisoformat(stamp)
    except ValueError:
        return EPOCH
    return stamp


def _message(room: str, seq: int, sender: str, role: Role, text: str, at: str = EPOCH) -> Message:
    return Message(room=room, seq=seq, id=f"{room}-{seq}", sender=sender, role=role, content=text, timestamp=at)
