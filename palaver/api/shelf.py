"""The models of a server by id: made when it opens, without a word to any of them, and closed together."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from palaver.api.counting import Counters, MeasuredModel, Told
from palaver.api.errors import UnknownModel
from palaver.core.errors import ConfigError, ModelError
from palaver.models.model import LLMResponse, Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One model: `make` makes it and sends nothing, `settings` hold no secret."""

    name: str
    kind: str
    make: Callable[[], Model]
    settings: Mapping[str, Any]


class Shelf:
    """Models by id. Nothing is generated to find out about one."""

    def __init__(
        self,
        entries: Mapping[str, Entry],
        *,
        default: str | None,
        counters: Counters,
        told: Told = lambda ident, response: None,
    ) -> None:
        self.entries = entries
        self.default = default
        self._counters = counters
        self._told = told
        self.models: dict[str, MeasuredModel] = {}
        """Those that could be made."""
        self._faults: dict[str, str] = {}

    def open(self) -> None:
        """Make every model. One without its key is told of and tried again when it is asked for.

        Raises `ConfigError` for what no later try can mend.
        """
        for ident in self.entries:
            try:
                self.take(ident)
            except ConfigError as error:
                raise ConfigError(f"models.{ident}: {error}") from error
            except ModelError as error:
                logger.warning("model %s cannot speak yet: %s", ident, error)

    def check(self, ident: str | None) -> str:
        """The id of a model that is known, the default's for `None`; raises `UnknownModel`."""
        wanted = self.default if ident is None else ident
        if wanted is None:
            raise UnknownModel("no model was named and the server has no default_model")
        if wanted not in self.entries:
            raise UnknownModel(f"model {wanted!r} is unknown; known: {', '.join(self.entries) or 'none'}")
        return wanted

    def state(self, ident: str) -> tuple[bool | None, str | None]:
        """Whether its last reply succeeded (`None` before the first), and why not."""
        if ident in self._faults:
            return False, self._faults[ident]
        model = self.models.get(ident)
        return (model.healthy, model.last_error) if model is not None else (None, None)

    def take(self, ident: str) -> MeasuredModel:
        """The model under a known id; raises `ModelError` where it cannot be made as things are."""
        if ident not in self.models:
            try:
                made = self.entries[ident].make()
            except ModelError as error:
                self._faults[ident] = str(error)
                raise
            self._faults.pop(ident, None)
            self.models[ident] = MeasuredModel(ident, made, self._counters, self._told)
        return self.models[ident]

    def replied(self, ident: str, response: LLMResponse) -> None:
        """Count a reply that was made elsewhere."""
        self.take(ident).count(response)

    async def close(self) -> None:
        """Close every model that was made."""
        for ident, model in self.models.items():
            try:
                await model.close()
            except Exception:
                logger.exception("model %s did not close", ident)
        self.models.clear()
