"""The config file: one schema for hub, models, evaluators and API. Read by `palaver.cli`, `api` and `party` only.

What is listed here is imported when it is used: whoever only masks secrets builds no schema.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palaver.config.loading import Origin
    from palaver.config.manager import SEARCH_PATH, ConfigManager
    from palaver.config.schema import (
        ApiConfig,
        EvaluatorConfig,
        HubConfig,
        LimitsConfig,
        LoggingConfig,
        ModelConfig,
        ServerConfig,
    )

__all__ = [
    "SEARCH_PATH",
    "ApiConfig",
    "ConfigManager",
    "EvaluatorConfig",
    "HubConfig",
    "LimitsConfig",
    "LoggingConfig",
    "ModelConfig",
    "Origin",
    "ServerConfig",
]

_HOMES = {"SEARCH_PATH": "manager", "ConfigManager": "manager", "Origin": "loading"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'schema')}"), name)


def __dir__() -> list[str]:
    return __all__
