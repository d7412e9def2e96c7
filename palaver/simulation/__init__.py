"""Rollouts between an assistant and a simulated user, alone or by the thousand. Seed 0."""

from palaver.simulation.assistant import LocalAssistant, ModelAssistant
from palaver.simulation.records import RolloutFile
from palaver.simulation.rollout import FAILURES, REASONS, Rollout, RolloutError, TerminationReason, UserTurn
from palaver.simulation.simulator import ChatSimulator
from palaver.simulation.speakers import Speaker
from palaver.simulation.talk import Limits
from palaver.simulation.user_models import OpenAIUserModel, SimulatedUser, UserModel

__all__ = [
    "FAILURES",
    "REASONS",
    "ChatSimulator",
    "Limits",
    "LocalAssistant",
    "ModelAssistant",
    "OpenAIUserModel",
    "Rollout",
    "RolloutError",
    "RolloutFile",
    "SimulatedUser",
    "Speaker",
    "TerminationReason",
    "UserModel",
    "UserTurn",
]
