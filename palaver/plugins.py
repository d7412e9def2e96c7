"""Names to objects: `module:object` imported late, and the short names that other packages bring by entry point."""

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from palaver.core.errors import ConfigError

BACKENDS: Final = "palaver.backends"
"""Entry point group of models: each is called with the model's name and gives a `palaver.models.model.Model`."""


def load(name: str, *, group: str, known: tuple[str, ...] = ()) -> Any:
    """The object behind `module:object` or a short name of `group`; `known` are short names the caller has itself.

    Raises `ConfigError` that says which part is wrong.
    """
    found = {point.name: point for point in entry_points(group=group)}
    if ":" in name:
        return _imported(name)
    if name in found:
        return _imported(found[name].value)
    listed = ", ".join([*known, *sorted(found), "module:object"])
    raise ConfigError(f"{group.rpartition('.')[2].removesuffix('s')} {name!r} is unknown; known: {listed}")


def import_modules(names: Iterable[str]) -> None:
    """Import modules that register what they bring; also found in the current folder. Raises `ConfigError`."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    for name in names:
        try:
            import_module(name)
        except (Exception, SystemExit) as error:  # anybody's code runs here: whatever it raises is a wrong config
            raise ConfigError(f"plugin {name!r} cannot be imported: {type(error).__name__}: {error}") from error


def _imported(name: str) -> Any:
    module, _, path = name.partition(":")
    if not module or not path:
        raise ConfigError(f"{name!r} is not of the form module:object")
    try:
        found: Any = import_module(module)
    except ImportError as error:
        raise ConfigError(f"{name!r}: module {module!r} cannot be imported: {error}") from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigError(f"{name!r}: there is no {part!r} in {module!r}") from None
    return found
