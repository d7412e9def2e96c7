"""Evaluators by type: those that come with Palaver, registered ones, and those of other packages by entry point."""

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Final

from palaver.core.errors import ConfigError
from palaver.evaluation.llm import LLMEvaluator
from palaver.evaluation.plugin import EvaluatorPlugin, EvaluatorSettings
from palaver.evaluation.rule_based import RuleBasedEvaluator
from palaver.models.model import Model
from palaver.models.scripted import ScriptedModel

GROUP: Final = "palaver.evaluators"
"""Entry point group: each names a subclass of `EvaluatorPlugin`."""


class PluginManager:
    """Makes evaluators and keeps those it made. Registered types are known to every manager of the process."""

    _types: ClassVar[dict[str, type[EvaluatorPlugin]]] = {"rule_based": RuleBasedEvaluator, "llm": LLMEvaluator}

    def __init__(self) -> None:
        self._loaded: list[EvaluatorPlugin] = []

    @classmethod
    def register_plugin(cls, plugin_type: str, plugin: type[EvaluatorPlugin]) -> None:
        """Let configs name `plugin_type`; a later registration replaces an earlier one."""
        if not (isinstance(plugin, type) and issubclass(plugin, EvaluatorPlugin)):
            raise ConfigError(f"evaluator {plugin_type!r}: {plugin!r} is no subclass of EvaluatorPlugin")
        cls._types[plugin_type] = plugin

    @classmethod
    def get_available_types(cls) -> list[str]:
        """All types that a config may name."""
        return [*cls._types, *sorted(point.name for point in entry_points(group=GROUP) if point.name not in cls._types)]

    def create_evaluator(
        self, config: EvaluatorSettings, model_providers: Mapping[str, Any], default_model: str | None = None
    ) -> EvaluatorPlugin | None:
        """Make and keep the evaluator of a config, None where it is not enabled.

        Raises `ConfigError` for an unknown type or model, or settings that its type cannot use. Models are
        `palaver.models.model.Model`s by id; `default_model` serves where the config names none.
        """
        plugin = self._type(config.type)
        if not config.enabled:
            return None
        needed = {"model": _model(config, model_providers, default_model)} if plugin.needs_model else {}
        try:
            evaluator = plugin(config.config, **needed)
        except ConfigError:
            raise
        except Exception as error:  # anybody's code: whatever it cannot do with its settings is a wrong config
            raise ConfigError(f"evaluator {config.type!r} cannot be made: {type(error).__name__}: {error}") from error
        self._loaded.append(evaluator)
        return evaluator

    @classmethod
    def try_out(cls, config: EvaluatorSettings, models: Iterable[str], default_model: str | None = None) -> None:
        """Raise `ConfigError` where that evaluator could not be made, whatever the state of the model that it names."""
        cls().create_evaluator(config, dict.fromkeys(models, ScriptedModel([])), default_model)

    def get_evaluators(self) -> list[EvaluatorPlugin]:
        """All that were made, in order."""
        return list(self._loaded)

    def get_evaluators_by_type(self, plugin_type: str) -> list[EvaluatorPlugin]:
        """Those of one type."""
        return [one for one in self._loaded if one.plugin_type == plugin_type]

    def clear_evaluators(self) -> None:
        """Forget those that were made; types stay known."""
        self._loaded.clear()

    def _type(self, name: str) -> type[EvaluatorPlugin]:
        if name not in self._types:
            for point in entry_points(group=GROUP, name=name):
                self.register_plugin(name, _loaded(point))
        if name not in self._types:
            raise ConfigError(f"evaluator type {name!r} is unknown; known: {', '.join(self.get_available_types())}")
        return self._types[name]


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:  # anybody's code
        raise ConfigError(
            f"evaluator {point.name!r}: {point.value} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _model(config: EvaluatorSettings, models: Mapping[str, Any], default: str | None) -> Model:
    name = config.model or default
    if name is None:
        raise ConfigError(f"evaluator {config.type!r} needs a model: name one of {', '.join(models) or 'none'}")
    if name not in models:
        raise ConfigError(f"evaluator {config.type!r}: model {name!r} is unknown; known: {', '.join(models) or 'none'}")
    model: Model = models[name]
    return model
