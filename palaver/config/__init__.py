"""The config file: one schema for hub, models, evaluators and API. Read by `palaver.cli` and the API's root only."""

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
