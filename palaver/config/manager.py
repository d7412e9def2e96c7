"""`ConfigManager`: finds, reads, reads again and saves the config file."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from palaver.config import loading, saving
from palaver.config.layers import layered
from palaver.config.loading import Document, Origin
from palaver.config.schema import ModelConfig, ServerConfig
from palaver.core.errors import ConfigError

SEARCH_PATH: Final = (
    Path("config/palaver.yaml"),
    Path("palaver.yaml"),
    Path("~/.config/palaver/config.yaml"),
    Path("/etc/palaver/config.yaml"),
)
"""Where a config is looked for when none is named; the first one found holds."""


_A_PARTY_S: Final = frozenset({"clients", "user_sims"})
"""Keys by which the file of `palaver up` is known."""


class ConfigManager:
    """`ConfigManager(Path("palaver.yaml")).load_config()`; without a path, the first of `SEARCH_PATH`, else defaults.

    Flags outrank the environment (`PALAVER_API_PORT`), that outranks the file, and that the defaults. `environ` is
    the process's own by default.
    """

    def __init__(self, path: Path | str | None = None, *, environ: Mapping[str, str] | None = None) -> None:
        self.path = _found() if path is None else Path(path)
        """The file; None where none was named and none found."""
        self._environ = os.environ if environ is None else environ
        self._flags: Mapping[str, Any] = {}
        self._document = Document(str(self.path or "the defaults"))
        self._before = ServerConfig().model_dump()
        self._config: ServerConfig | None = None

    @property
    def config(self) -> ServerConfig:
        """What was loaded last; loaded now where nothing was."""
        return self.load_config() if self._config is None else self._config

    def load_config(self, flags: Mapping[str, Any] | None = None) -> ServerConfig:
        """Read the file; `flags` are by key path (`{"api.port": 8080}`), None for a flag that was not given.

        Raises `ConfigError` with file, line and key of everything that is wrong, a line each.
        """
        flags = self._flags if flags is None else flags
        document = Document("the defaults") if self.path is None else loading.read(self.path, self._environ)
        if not _A_PARTY_S.isdisjoint(document.raw):
            told = f"palaver up {document.name} starts it, with --backend print it is only checked"
            raise ConfigError(f"{document.name} is a party's file: {told}")
        config = layered(document, self._environ, flags)
        self._flags, self._document, self._config = flags, document, config
        self._before = config.model_dump()
        return config

    def reload_config(self) -> ServerConfig:
        """Read it again under the same flags; where that fails, the config that was loaded stays. Raises as above."""
        return self.load_config()

    def save_config(self, config: ServerConfig, path: Path | str | None = None) -> Path:
        """Write `config` to `path`, else to its file; gives the path.

        What did not change stays as it was written: placeholders, and whatever a flag or a variable only outranked.
        A file whose meaning stays the same is not touched, else its comments are lost. Raises `ConfigError` where a
        secret would be written that was not in the file.
        """
        target = Path(path or self.path or SEARCH_PATH[1])
        said = saving.merged(self._document.raw, self._before, config.model_dump(), self._known_variables())
        if target != self.path or said != self._document.raw or not target.exists():
            saving.write(target, said)
        self.path, self._config = target, config
        self._document.raw, self._before = said, config.model_dump()
        return target

    def get_model_config(self, name: str | None = None) -> ModelConfig:
        """The model of that name, else the default one; raises `ConfigError` where there is none."""
        config = self.config
        name = name or config.default_model
        if name not in config.models:
            raise ConfigError(f"model {name!r} is not in models; known: {', '.join(config.models)}")
        return config.models[name]

    def origin(self, *path: str | int) -> Origin:
        """Where the value at a key path comes from: `manager.origin("models", "gpt")` is a file and a line."""
        return self._document.origin(path)

    def _known_variables(self) -> dict[str, str]:
        return {**self._environ, **self._document.variables}


def _found() -> Path | None:
    for each in SEARCH_PATH:
        with contextlib.suppress(RuntimeError):  # this user has no home
            if (path := each.expanduser()).is_file():
                return path
    return None
