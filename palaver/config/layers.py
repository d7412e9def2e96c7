"""Flag above environment above file above default: laid over each other, checked once, errors with their place."""

import copy
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from palaver.config.loading import Document, KeyPath, Origin, dotted_path
from palaver.config.masking import is_secret
from palaver.config.schema import EvaluatorConfig, ModelConfig, Section, ServerConfig
from palaver.core.errors import ConfigError

_NAMED: Final[Mapping[tuple[str, ...], str]] = {
    ("hub", "token"): "PALAVER_TOKEN",
    ("hub", "moderator_token"): "PALAVER_MODERATOR_TOKEN",
    ("hub", "secret"): "PALAVER_SECRET",
}


def variable_names() -> dict[str, KeyPath]:
    """The environment variables that outrank the file: `PALAVER_` and a setting's key path, `PALAVER_API_PORT`."""
    return {_NAMED.get(path, "_".join(("palaver", *path)).upper()): path for path in _settings(ServerConfig, ())}


def layered(document: Document, environ: Mapping[str, str], flags: Mapping[str, Any]) -> ServerConfig:
    """The config that holds; `flags` are by dotted key path (`api.port`), None where a flag was not given.

    Notes in `document` where each value comes from. Raises `ConfigError` with all that is wrong, a line each.
    """
    said = {name: value for name, value in document.values.items() if value is not None}  # a heading alone says nothing
    values = copy.deepcopy(said)
    for variable, path in variable_names().items():
        if environ.get(variable):
            _put(values, path, _split(path, environ[variable]))
            document.origins[path] = Origin(f"environment variable {variable}")
    for dotted, value in flags.items():
        if value is not None:
            keys = dotted.split(".")
            _put(values, tuple(keys), value)
            document.origins[tuple(keys)] = Origin(f"flag --{keys[-1].replace('_', '-')}")
    try:
        config = ServerConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(described(error, document, _section_at)) from None
    config.remember(_templates(document, config))
    return config


def _settings(section: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The key paths of all settings that are a single value or a list of them."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, (*path, name))
        elif name not in ("models", "evaluators"):
            yield (*path, name)


def _split(path: KeyPath, text: str) -> Any:
    """A list's value in the environment is its items between commas."""
    field = _section_at(path[:-1]).model_fields[str(path[-1])]
    return [item.strip() for item in text.split(",")] if "list[" in str(field.annotation) else text


def _put(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    """Set the value at a key path, unless the file has no section there but something else, which is an error."""
    for key in path[:-1]:
        inner = values.setdefault(str(key), {})
        if not isinstance(inner, dict):
            return
        values = inner
    values[str(path[-1])] = value


def _templates(document: Document, config: ServerConfig) -> dict[KeyPath, tuple[str, Any]]:
    """What stands in the file with placeholders, beside the value that came of it, unless something outranked it."""
    found: dict[KeyPath, tuple[str, Any]] = {}
    dump = config.model_dump()
    for path, template in document.templates.items():
        value: Any = dump
        for key in path:
            value = value[key]
        if document.origins[path].line:
            found[path] = (template, value)
    return found


def described(errors: ValidationError, document: Document, section_at: Callable[[KeyPath], type[BaseModel]]) -> str:
    """A line for each error: where, which key, what is wrong, what would be right.

    `section_at` gives the schema of the section at a key path, for the keys that it knows.
    """
    return "\n".join(_described(each, document, section_at) for each in errors.errors())


def _described(error: ErrorDetails, document: Document, section_at: Callable[[KeyPath], type[BaseModel]]) -> str:
    path: KeyPath = (*error["loc"], *error.get("ctx", {}).get("at", ()))
    where = f"{document.origin(path)}: {dotted_path(path)}"
    match error["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; {meant(str(path[-1]), section_at(path[:-1]).model_fields)}"
        case "missing":
            return f"{where}: is missing"
        case "model_type" | "model_attributes_type":
            return f"{where}: must be settings, `key: value`, not {error['input']!r:.200}"
        case "value_error":
            return f"{where}: {error['ctx']['error']}"
        case "unknown_model":
            return f"{where}: {error['msg']}"
    told = "" if is_secret(path) or path in document.templates else f", not {error['input']!r:.200}"
    return f"{where}: {error['msg'][:1].lower()}{error['msg'][1:]}{told}"


def meant(key: str, known: Iterable[str]) -> str:
    """What to do about an unknown key: the nearest that there is, else all of them."""
    known = list(known)
    close = difflib.get_close_matches(key, known, n=1)
    return f"do you mean {close[0]}?" if close else f"known: {', '.join(known)}"


def _section_at(path: KeyPath) -> type[Section]:
    """The schema of the section at a key path."""
    if path[:1] == ("models",):
        return ModelConfig
    if path[:1] == ("evaluators",):
        return EvaluatorConfig
    section: Any = ServerConfig
    for key in path:
        section = section.model_fields[key].annotation
    return cast(type[Section], section)
