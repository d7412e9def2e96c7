"""Transcripts: a conversation as JSON lines or Markdown, and back from JSON lines."""

from collections.abc import Iterable, Iterator

import msgspec

from palaver.core.errors import ProtocolError
from palaver.core.message import Message

_decoder = msgspec.json.Decoder(Message)
_encoder = msgspec.json.Encoder()


def to_line(message: Message) -> bytes:
    """One line of a JSONL transcript, without the newline: the message as it was on the wire."""
    return _encoder.encode(message)


def from_lines(lines: Iterable[bytes | str]) -> Iterator[Message]:
    """The messages of a JSONL transcript; the last word on a `seq` counts (a redaction is written after its message).

    Raises `ProtocolError` that names the line. A last line that was cut off by a crash is left out.
    """
    kept: dict[int, Message] = {}
    broken = ""
    for number, line in enumerate(lines, 1):
        if broken:
            raise ProtocolError(broken)
        if not line.strip():
            continue
        try:
            message = _decoder.decode(line)
        except msgspec.DecodeError as error:
            broken = f"line {number} of the transcript is no message: {error}"
            continue
        kept[message.seq] = message
    yield from (kept[seq] for seq in sorted(kept))


def to_markdown(messages: Iterable[Message], *, title: str = "") -> Iterator[str]:
    """The conversation for reading, piece by piece."""
    if title:
        yield f"# {title}\n\n"
    for message in messages:
        yield markdown_of(message)


def markdown_of(message: Message) -> str:
    """One message for reading; its text is quoted, so that it cannot pretend to be another's."""
    aside = f" (to {message.to})" if message.to else f" (written by {by})" if (by := message.written_by) else ""
    text = f"*redacted: {message.redacted}*" if message.redacted is not None else message.content
    quoted = "\n> ".join(text.splitlines())
    return f"**{message.sender}**{aside} · {message.timestamp} · {message.seq}\n\n> {quoted}\n\n"
