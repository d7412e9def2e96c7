"""A conversation in the forms that people and programs ask for."""

import html
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from palaver.core.message import Message, same_name
from palaver.core.prompt import seen_by
from palaver.core.transcript import to_line, to_markdown

Format = Literal["jsonl", "md", "html", "openai", "sharegpt"]
FORMATS: Final[dict[Format, str]] = {
    "jsonl": "application/x-ndjson",
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "openai": "application/json",
    "sharegpt": "application/json",
}
_SHAREGPT: Final = {"system": "system", "user": "human", "assistant": "gpt"}
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:1rem/1.5 system-ui;max-width:45rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}}
article{{margin:1rem 0}}p{{white-space:pre-wrap;margin:0}}small{{opacity:.7}}</style>
<h1>{title}</h1>
{body}</html>
"""


def rendered(
    form: Format, messages: Sequence[Message], names: Sequence[str], *, seen_as: str | None, title: str
) -> tuple[str, bytes]:
    """Content type and body. `seen_as` sees no whispers of others; where a form needs one, the first name sees it."""
    if seen_as is not None:
        messages = [message for message in messages if message.is_for(seen_as, "model")]
    return FORMATS[form], _body(form, messages, seen_as or names[0], title)


def _body(form: Format, messages: Sequence[Message], name: str, title: str) -> bytes:
    match form:
        case "jsonl":
            return b"".join(to_line(message) + b"\n" for message in messages)
        case "md":
            return "".join(to_markdown(messages, title=" ".join(title.split()))).encode()
        case "html":
            body = "\n".join(_article(message) for message in messages)
            return _PAGE.format(title=html.escape(title), body=body).encode()
        case "openai":
            return msgspec.json.encode({"messages": _turns(messages, name)})
        case "sharegpt":
            turns = [{"from": _SHAREGPT[turn["role"]], "value": turn["content"]} for turn in _turns(messages, name)]
            return msgspec.json.encode({"conversations": turns})


def _turns(messages: Sequence[Message], name: str) -> list[dict[str, str]]:
    """One's own words are the assistant's; in a talk between two the other's words bear no name."""
    others = {message.sender for message in messages if not same_name(message.sender, name)}
    return seen_by(name, messages, labels=len(others) > 1).messages


def _article(message: Message) -> str:
    text = f"redacted: {message.redacted}" if message.redacted is not None else message.content
    to = f" to {html.escape(message.to)}" if message.to else ""
    head = f"<strong>{html.escape(message.sender)}</strong>{to} <small>{message.seq} · {message.timestamp}</small>"
    return f"<article>{head}<p>{html.escape(text)}</p></article>"
