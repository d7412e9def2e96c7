"""Action orders as floor policies: what a moderator types so that agents act in that order, and how long a turn is."""

import json
import shlex
from typing import Final

from palaver.scenes.scene import ActionOrder, Scene

ONE_EACH_TURN: Final[frozenset[ActionOrder]] = frozenset({"round-robin", "random"})
"""Orders in which one agent acts in a turn; in the others all do."""


def policy_command(scene: Scene) -> str:
    """The `/policy` command of a scene's order."""
    match scene.order:
        case "simultaneous":
            return "/policy simultaneous max_in_a_row=0"
        case "random":
            seed = 0 if scene.seed is None else 1 + scene.seed % 999_999_999  # what a policy's number may be
            return f"/policy random seed={seed}"
    order = json.dumps(scene.in_order(), ensure_ascii=False)
    return f"/policy round_robin {shlex.quote(f'order={order}')}"
