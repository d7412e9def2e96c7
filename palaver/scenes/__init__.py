"""Scenes: agents with profiles, goals and secrets who act in turns, in a room of a hub. Seed 4's environment."""

from palaver.scenes.actions import Action
from palaver.scenes.director import Patience, run_scene
from palaver.scenes.episode import EpisodeLog
from palaver.scenes.scene import ORDERS, RELATIONSHIPS, Agent, Scene

__all__ = ["ORDERS", "RELATIONSHIPS", "Action", "Agent", "EpisodeLog", "Patience", "Scene", "run_scene"]
