"""YAML and the environment to plain data that knows where each value stands, and errors that say so.

It knows no schema: which keys there are is `palaver.config.schema`'s business.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.reader import ReaderError

from palaver.core.errors import ConfigError

KeyPath = tuple[str | int, ...]

_PLACEHOLDER: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|\$\{")
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_MERGE: Final = "tag:yaml.org,2002:merge"
_AS_TEXT: Final = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
"""YAML 1.1 makes a date of `2024-10-21`, which is how versions of APIs and models are written."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from, in words: `palaver.yaml, line 7`, or the variable or flag that set it."""

    place: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.place}, line {self.line}" if self.line else self.place


@dataclass(slots=True)
class Document:
    """A config file as it was read."""

    name: str
    raw: dict[str, Any] = field(default_factory=dict)
    """As it stands in the file, placeholders and all."""
    values: dict[str, Any] = field(default_factory=dict)
    """With the placeholders filled in."""
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    templates: dict[KeyPath, str] = field(default_factory=dict)
    """The texts that had placeholders, as they stand in the file."""
    variables: dict[str, str] = field(default_factory=dict)
    """What was taken from the environment."""

    def origin(self, path: KeyPath) -> Origin:
        """Where the value at `path` stands, or the nearest one around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return Origin(self.name)


def read(path: Path, environ: Mapping[str, str]) -> Document:
    """The file with its placeholders filled in; raises `ConfigError` with all that is wrong with it, a line each."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"config {path}: cannot be read: {reason}") from error
    return parse(text, str(path), environ)


def parse(text: str, name: str, environ: Mapping[str, str]) -> Document:
    """As `read`, from a text; `name` is what errors call it."""
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        builder = _Builder(name, loader, environ)
        document = builder.document
        document.origins[()] = Origin(name)
        if root is not None and not (isinstance(root, yaml.ScalarNode) and not root.value):
            if not isinstance(root, yaml.MappingNode):
                raise ConfigError(f"{name}, line 1: a config is `key: value` lines, not {_kind(root)}")
            document.raw, document.values = builder.build(root, ())
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(_syntax_error(name, text, error)) from error
    except RecursionError:
        raise ConfigError(f"{name}: its lists or sections lie too deep in each other") from None
    if builder.errors:
        raise ConfigError("\n".join(builder.errors))
    return document


class _Builder:
    """Walks the nodes of a YAML document once: raw data, filled-in data, lines and errors together."""

    def __init__(self, name: str, loader: yaml.SafeLoader, environ: Mapping[str, str]) -> None:
        self.document = Document(name)
        self.errors: list[str] = []
        self._loader = loader
        self._environ = environ
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> tuple[Any, Any]:
        """The data of a node, as it stands in the file and filled in."""
        self.document.origins.setdefault(path, Origin(self.document.name, node.start_mark.line + 1))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            raise ValueError(f"line {node.start_mark.line + 1}: an alias that contains itself")
        self._open.add(id(node))
        try:
            return self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._sequence(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> tuple[dict[str, Any], dict[str, Any]]:
        self._refuse_duplicates(node, path)
        self._loader.flatten_mapping(node)
        raw: dict[str, Any] = {}
        filled: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            self.document.origins[*path, name] = Origin(self.document.name, key.start_mark.line + 1)
            raw[name], filled[name] = self.build(value, (*path, name))
        return raw, filled

    def _refuse_duplicates(self, node: yaml.MappingNode, path: KeyPath) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {key.start_mark.line + 1}: a key must be a word, not {_kind(key)}")
            line = key.start_mark.line + 1
            if key.value in seen and key.tag != _MERGE:
                dotted = dotted_path((*path, key.value))
                self._wrong(line, f"{dotted}: duplicate key; it stands in line {seen[key.value]} already")
            seen.setdefault(key.value, line)

    def _sequence(self, node: yaml.Node, path: KeyPath) -> tuple[list[Any], list[Any]]:
        pairs = [self.build(each, (*path, number)) for number, each in enumerate(node.value)]
        return [raw for raw, _ in pairs], [filled for _, filled in pairs]

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> tuple[Any, Any]:
        if "${" not in node.value:
            value = node.value if node.tag in _AS_TEXT else self._loader.construct_object(node)
            return value, value
        line = node.start_mark.line + 1
        text = _PLACEHOLDER.sub(lambda found: self._fill(found, line, path), node.value)
        self.document.templates[path] = node.value
        whole = _PLACEHOLDER.fullmatch(node.value)
        return node.value, _typed(text) if whole and node.style is None else text

    def _fill(self, found: re.Match[str], line: int, path: KeyPath) -> str:
        name, default = found[1], found[2]
        if found[0] == "$${":
            return "${"
        if name is None:
            text = f"{found.string!r} has a ${{ that is no placeholder; write ${{NAME}}, ${{NAME:-default}}, or $${{"
            self._wrong(line, f"{dotted_path(path)}: {text} for the characters themselves")
            return ""
        value = self._environ.get(name)
        if value:
            self.document.variables[name] = value
            return value
        if default is None:
            told = f"environment variable {name} is {'not set' if value is None else 'empty'}"
            self._wrong(line, f"{dotted_path(path)}: {told}; set it, or write ${{{name}:-default}}")
        return default or ""

    def _wrong(self, line: int, text: str) -> None:
        self.errors.append(f"{Origin(self.document.name, line)}: {text}")


def dotted_path(path: KeyPath) -> str:
    """`models.gpt.type`, `evaluators[1].model`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value that is neither a mapping nor a list, with its key path."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from leaves(each, (*path, number))
    else:
        yield path, value


def _typed(text: str) -> Any:
    """A plain `${NAME}` may stand for a number or a truth value; only what can be written back the same is one."""
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        for kind in (int, float):
            try:
                number = kind(text)
            except ValueError:
                continue
            if str(number) == text:
                return number
    return text


def _kind(node: yaml.Node) -> str:
    match node:
        case yaml.MappingNode():
            return "a mapping"
        case yaml.SequenceNode():
            return "a list"
    return "a single value"


def _syntax_error(name: str, text: str, error: Exception) -> str:
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{Origin(name, line)}: the character {chr(error.character)!r} cannot stand in YAML"
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"{name}: {error}"
    problem = " ".join(filter(None, (getattr(error, "context", None), getattr(error, "problem", None))))
    lines = text.splitlines()
    unquoted = mark.line < len(lines) and re.search(r"[{\[].*: *\$\{", lines[mark.line])
    hint = '; within { } and [ ] a placeholder needs quotes: "${NAME}"' if unquoted else ""
    return f"{Origin(name, mark.line + 1)}, column {mark.column + 1}: {problem}{hint}"
