"""The forms in which a conversation can be had, by name: what HTTP, the command line and the console offer."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from palaver.core.message import Message, same_name
from palaver.core.transcript import to_line, to_markdown
from palaver.records.chat import models_of, openai_row, role_of, sharegpt_row, trl_rows
from palaver.records.page import to_html
from palaver.records.table import to_csv

Format = Literal["jsonl", "md", "html", "openai", "sharegpt", "trl", "csv"]
FORMATS: Final[dict[Format, str]] = {
    "jsonl": "application/x-ndjson",
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "openai": "application/json",
    "sharegpt": "application/json",
    "trl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
}
"""Each with its content type."""
SUFFIXES: Final[dict[str, Format]] = {".jsonl": "jsonl", ".md": "md", ".html": "html", ".csv": "csv"}
"""The form that a file's name asks for."""


def seen_messages(messages: Sequence[Message], name: str) -> list[Message]:
    """What `name` was there to read: no whispers of others, but all of them where it is a moderator."""
    role = role_of(messages, name)
    return [message for message in messages if message.is_for(name, role)]


def rendered(form: Format, messages: Sequence[Message], *, seen_as: str | None, title: str) -> bytes:
    """The conversation in that form, as `seen_as` saw it, or as it is where that is None.

    Then `openai` bears names, and `sharegpt` and `trl` have a row for each model, as it saw the conversation.
    """
    if seen_as is not None:
        messages = seen_messages(messages, seen_as)
    names = models_of(messages) if seen_as is None else [seen_as]
    match form:
        case "jsonl":
            return b"".join(to_line(message) + b"\n" for message in messages)
        case "md":
            return "".join(to_markdown(messages, title=" ".join(title.split()))).encode("utf-8", "replace")
        case "html":
            return to_html(messages, title=title).encode("utf-8", "replace")
        case "csv":
            return to_csv(messages).encode("utf-8", "replace")
        case "openai":
            return _rows([openai_row(messages, seen_as)])
        case "sharegpt":
            return _rows([sharegpt_row(messages, name) for name in names])
        case "trl":
            return _rows(list(trl_rows(messages, names)))


def participant(messages: Sequence[Message], name: str) -> str | None:
    """The name as it stands in the conversation, whatever its case; None where it took no part."""
    there = dict.fromkeys(each for message in messages for each in (message.sender, message.to) if each)
    return next((each for each in there if same_name(each, name)), None)


def _rows(rows: Sequence[object]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
