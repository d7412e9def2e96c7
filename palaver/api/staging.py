"""Between the API and the scenes: each conversation gets evaluators of its own."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from palaver.api.plan import Plan
from palaver.evaluation import Panel, PluginManager
from palaver.evaluation.plugin import EvaluatorSettings
from palaver.models.model import Model
from palaver.scenes.director import run_scene
from palaver.scenes.episode import EpisodeLog
from palaver.scenes.progress import Progress


class Stage:
    """A `Runner` over the scenes. `default_model` judges where an evaluator's config names no model."""

    def __init__(self, evaluators: Sequence[EvaluatorSettings], *, default_model: str) -> None:
        self._evaluators = evaluators
        self._default_model = default_model

    async def __call__(
        self,
        plan: Plan,
        models: Mapping[str, Model],
        *,
        url: str,
        token: str | None,
        keep: Callable[[Progress], Awaitable[None]],
    ) -> EpisodeLog:
        """Hold the conversation; raises `ConfigError` for an evaluator that cannot be made."""
        manager = PluginManager()
        for evaluator in self._evaluators:
            manager.create_evaluator(evaluator, models, self._default_model)
        panel = Panel(manager.get_evaluators(), judged=plan.judged)
        return await run_scene(
            plan.scene, models, url=url, room=plan.id, token=token, panel=panel, so_far=plan.so_far, keep=keep
        )
