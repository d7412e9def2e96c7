"""LoRA adapters on one base model: several loaded, one in force at a time, chosen per reply."""

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from palaver.core.errors import ModelError

logger = logging.getLogger(__name__)

_LONGEST_REASON = 300


def check_adapter(path: str) -> None:
    """Raise `ModelError` where a folder holds no adapter; what is no folder may be a name on the hub."""
    folder = Path(path).expanduser()
    if not folder.exists():
        return
    for wanted in ("adapter_config.json", "adapter_model.*"):
        if not any(folder.glob(wanted)):
            raise ModelError(f"--lora {path}: no {wanted} there")


class Adapters:
    """Adapters by the path they were loaded from; "" is the base model alone.

    peft puts its layers into the base model itself, so the engine goes on calling the base. (transformers' own
    `load_adapter` overwrites the first adapter with random numbers when it loads a second one, seen in 5.23.)
    """

    def __init__(self) -> None:
        self._tuner: Any = None
        self._names: dict[str, str] = {}
        self._in_force = ""

    @classmethod
    def load(cls, model: Any, paths: Sequence[str], tell: Callable[[str, float | None], None]) -> "Adapters":
        """Put the adapters in `paths` into `model`; none is in force afterwards."""
        adapters = cls()
        for path in dict.fromkeys(paths):
            folder = Path(path).expanduser()
            tell(f"loading adapter {path}", None)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # peft still asks transformers for an old attribute
                adapters._add(model, path, str(folder) if folder.exists() else path)
        if adapters._names:
            adapters._tuner.eval()
            adapters._tuner.base_model.disable_adapter_layers()
        return adapters

    def _add(self, model: Any, path: str, source: str) -> None:
        from peft import PeftModel

        name = f"adapter{len(self._names)}"
        try:
            if self._tuner is None:
                self._tuner = PeftModel.from_pretrained(model, source, adapter_name=name)
            else:
                self._tuner.load_adapter(source, adapter_name=name)
        except Exception as error:  # files of somebody else's, for another model perhaps
            logger.debug("cannot load the adapter", exc_info=True)
            told = " ".join(str(error).split())[:_LONGEST_REASON]
            raise ModelError(f"--lora {path} cannot be put on this model: {type(error).__name__}: {told}") from error
        self._names[path] = name

    @property
    def paths(self) -> tuple[str, ...]:
        """What was loaded."""
        return tuple(self._names)

    def forward(self, paths: Sequence[str], **inputs: Any) -> Any:
        """A forward pass with an adapter for each row of the batch."""
        self.use(next(filter(None, paths)))
        return self._tuner(adapter_names=[self._names.get(path, "__base__") for path in paths], **inputs)

    def use(self, path: str) -> None:
        """Put the adapter of `path` in force, or none; called in the thread that computes."""
        if path == self._in_force:
            return
        if path:
            self._tuner.base_model.set_adapter(self._names[path])
            self._tuner.base_model.enable_adapter_layers()
        else:
            self._tuner.base_model.disable_adapter_layers()
        self._in_force = path
