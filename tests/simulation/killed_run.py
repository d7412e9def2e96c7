"""A run of rollouts that a test kills: `python -m tests.simulation.killed_run PATH`.

It says a line for each rollout that is in the file, and waits for a line back before it goes on with the next.
"""

import asyncio
import sys
from collections.abc import Sequence

from palaver.models.model import ChatMessage
from palaver.simulation import Rollout
from tests.simulation.talks import simulator

PREFIXES: Sequence[Sequence[ChatMessage]] = [[{"role": "user", "content": f"Question {n}?"}] for n in range(8)]
SAMPLES = 3


def told(rollout: Rollout) -> None:
    """Say which one is done, and wait."""
    print(rollout.id, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    asyncio.run(simulator().rollouts(PREFIXES, SAMPLES, 2, concurrency=4, path=sys.argv[1], on_rollout=told))
