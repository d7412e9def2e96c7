"""A conversation as a table: CSV, one message a row."""

import csv
import io
from collections.abc import Sequence
from typing import Final

from palaver.core.message import Message

_STAMPED: Final = ("seq", "timestamp", "from", "role", "to", "reply_to", "turn", "content", "redacted")
_WRITTEN_BY: Final = "written_by"
_MADE_BY: Final = ("model", "prompt_tokens", "completion_tokens", "total_seconds", "stop_reason")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def to_csv(messages: Sequence[Message]) -> str:
    """RFC 4180, with a header. A cell that a spreadsheet would compute gets an apostrophe before it."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([*_STAMPED, _WRITTEN_BY, *_MADE_BY])
    for message in messages:
        meta = message.meta or {}
        stamped = (
            message.seq,
            message.timestamp,
            message.sender,
            message.role,
            message.to,
            message.reply_to,
            message.turn,
            message.content,
            message.redacted,
            message.written_by,
        )
        writer.writerow([_cell(value) for value in (*stamped, *(meta.get(name) for name in _MADE_BY))])
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
