"""Local files that a command names: their text travels to the hub, which knows nothing of this machine's disk."""

import json
import shlex
from pathlib import Path
from typing import Any

import yaml

from palaver.core.commands import spec_of, take_name
from palaver.core.errors import CommandError
from palaver.core.protocol import MAX_FRAME


def with_files(line: str, names: list[str]) -> str:
    """The command as the hub gets it: `persona=FILE` and `file=debate.yaml` replaced by what is in them.

    Other commands come back as they are. Raises `CommandError` that names the file.
    """
    verb = spec_of(line).verb
    if verb not in ("set", "policy") or "=" not in line:
        return line
    rest = line.lstrip("/").split(maxsplit=1)[1]
    if verb == "set":
        name, pairs = take_name(rest, [*names, "room"])
        head = f'/set "{name}"'
    else:
        name, _, pairs = rest.partition(" ")
        head = f"/policy {name}"
    return " ".join([head, *(shlex.quote(_expanded(verb, word)) for word in _words(pairs))])


def _words(pairs: str) -> list[str]:
    try:
        return shlex.split(pairs)
    except ValueError as error:
        raise CommandError(f"{pairs!r}: {error}") from error


def _expanded(verb: str, word: str) -> str:
    name, _, value = word.partition("=")
    if (verb, name) == ("set", "persona") and value:
        return f"persona={_read(value)}"
    if (verb, name) == ("policy", "file"):
        return f"phases={json.dumps(_phases(value), separators=(',', ':'), default=str)}"
    return word


def _read(file: str) -> str:
    try:
        with Path(file).expanduser().open(encoding="utf-8") as opened:
            text = opened.read(MAX_FRAME + 1).strip()
    except (OSError, ValueError, RuntimeError) as error:
        raise CommandError(f"file {file!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not text:
        raise CommandError(f"file {file!r} is empty")
    if len(text) > MAX_FRAME:
        raise CommandError(f"file {file!r} is too large: a command has {MAX_FRAME} bytes at most")
    return text


def _phases(file: str) -> list[Any]:
    """The phases as they stand there; the hub says what is wrong with them."""
    try:
        content = yaml.safe_load(_read(file))
    except yaml.YAMLError as error:
        raise CommandError(f"file {file!r} is no YAML: {error}") from error
    phases = content.get("phases") if isinstance(content, dict) and len(content) == 1 else content
    if not isinstance(phases, list) or not phases:
        raise CommandError(f"file {file!r} must hold `phases:`, a list of phases, and nothing else")
    return phases
