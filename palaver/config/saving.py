"""A config back to what its file says: what did not change stays as it was written, and no secret is written anew."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from palaver.config.loading import KeyPath, dotted_path, leaves
from palaver.config.masking import is_secret
from palaver.core.errors import ConfigError

_ABSENT: Final = object()
_FREE: Final = ("config", "custom_config")
_SHORTEST_SECRET: Final = 8
"""A shorter value of a variable is no key, and would be found in texts that have nothing to do with it."""


def merged(raw: Any, before: Any, now: Any, environ: Mapping[str, str]) -> dict[str, Any]:
    """What the file must say for the config `now`; it said `raw` and meant `before`, defaults among it.

    Raises `ConfigError` where a secret would be written that was not in the file.
    """
    said = _said(raw, before, now)
    kept = set(leaves(raw))
    return {} if said is _ABSENT else _without_secrets(said, kept, environ)


def _said(raw: Any, before: Any, now: Any, *, free: bool = False) -> Any:
    """What the file must say for `now`; `free` within sections whose keys the schema does not know."""
    if now == before:
        return raw
    if isinstance(now, dict):
        raws = raw if isinstance(raw, dict) else {}
        befores = before if isinstance(before, dict) else {}
        both = {
            key: _said(raws.get(key, _ABSENT), befores.get(key, _ABSENT), value, free=free or key in _FREE)
            for key, value in now.items()
        }
        ordered = [*(key for key in raws if key in both), *(key for key in both if key not in raws)]
        unsaid = not free and before is _ABSENT  # in a new section None is the default of what was left out
        return {key: both[key] for key in ordered if both[key] is not _ABSENT and not (unsaid and both[key] is None)}
    if isinstance(now, list):
        whole = [_said(_at(raw, number), _at(before, number), value, free=free) for number, value in enumerate(now)]
        return [value if said is _ABSENT else said for said, value in zip(whole, now, strict=True)]
    return now


def _at(values: Any, number: int) -> Any:
    return values[number] if isinstance(values, list) and number < len(values) else _ABSENT


def _without_secrets(said: dict[str, Any], kept: set[tuple[KeyPath, Any]], environ: Mapping[str, str]) -> Any:
    secrets = {
        value: name for name, value in environ.items() if len(value) >= _SHORTEST_SECRET and is_secret((name.lower(),))
    }

    def write(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: write(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [write(each, (*path, number)) for number, each in enumerate(value)]
        if not isinstance(value, str) or (path, value) in kept:
            return value
        text = value.replace("${", "$${")
        for secret, name in secrets.items():
            text = text.replace(secret, f"${{{name}}}")
        if text == value and value and is_secret(path):
            raise ConfigError(
                f"{dotted_path(path)}: a secret is not written to a file; put it into an environment variable "
                "and ${NAME} into the file"
            )
        return text

    return write(said, ())


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write the YAML whole or not at all; a new file is for its owner's eyes only. Raises `ConfigError`."""
    text = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=120)
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(mode)
        Path(file.name).replace(target)
    except OSError as error:
        raise ConfigError(f"config {path}: cannot be written: {error.strerror or error}") from error
