"""What conversations are worth: evaluators by rule and by model, and figures that need no model. Seed 4."""

from palaver.evaluation.llm import LLMEvaluator
from palaver.evaluation.manager import PluginManager
from palaver.evaluation.panel import Panel, Score
from palaver.evaluation.plugin import EvaluatorConfig, EvaluatorPlugin, Unscored
from palaver.evaluation.rule_based import RuleBasedEvaluator
from palaver.evaluation.sotopia import DIMENSIONS
from palaver.evaluation.statistics import Silence, Statistics, statistics

__all__ = [
    "DIMENSIONS",
    "EvaluatorConfig",
    "EvaluatorPlugin",
    "LLMEvaluator",
    "Panel",
    "PluginManager",
    "RuleBasedEvaluator",
    "Score",
    "Silence",
    "Statistics",
    "Unscored",
    "statistics",
]
