"""Many rollouts at once: bounded in number, resumable, and failures are rollouts too."""

import asyncio
import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from palaver.models.model import Messages
from palaver.models.progress import Progress
from palaver.simulation.records import RolloutFile
from palaver.simulation.rollout import Rollout
from palaver.simulation.views import checked

if TYPE_CHECKING:
    from palaver.simulation.simulator import ChatSimulator

CONCURRENCY: Final = 64
"""As many as a local model decodes together."""


class Options(TypedDict, total=False):
    """What many rollouts may be told besides; see `run`."""

    concurrency: int
    path: Path | str | None
    seed: int
    retry_failed: bool
    show_progress: bool
    on_rollout: Callable[[Rollout], None] | None


@dataclass(frozen=True, slots=True)
class Job:
    """One rollout to be had."""

    id: str
    prefix: Messages
    seed: int


async def run(
    simulator: "ChatSimulator",
    prefixes: Iterable[Messages],
    n: int,
    max_turns: int,
    *,
    concurrency: int = CONCURRENCY,
    path: Path | str | None = None,
    seed: int = 0,
    retry_failed: bool = False,
    show_progress: bool = False,
    on_rollout: Callable[[Rollout], None] | None = None,
) -> list[Rollout]:
    """`n` rollouts of each prefix in the order of the prefixes, those that failed among them.

    With `path`, each is appended to that JSONL file as it ends, and those that the file holds are not run again
    (failed ones are with `retry_failed`): a run that was killed goes on where it stood. A rollout is known by its
    prefix, turns, limits, speakers and seed; change one of them and it is another rollout. `on_rollout` gets each
    one that was run here. Raises ValueError for a wrong prefix or number before anything is run, and `PalaverError`
    where the file cannot be written.
    """
    if n < 0 or max_turns < 0 or concurrency < 1:
        raise ValueError(f"n={n}, max_turns={max_turns}, concurrency={concurrency}: 0, 0 and 1 are the least")
    jobs = _jobs(simulator, prefixes, n, max_turns, seed)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(RolloutFile(path, without_failed=retry_failed)) if path is not None else None
        done = {} if file is None else {job.id: file.rollouts[job.id] for job in jobs if job.id in file.rollouts}
        todo = [job for job in jobs if job.id not in done]
        bar = stack.enter_context(Progress(len(todo), "rollouts")) if show_progress else None

        def finished(rollout: Rollout) -> None:
            done[rollout.id] = rollout
            if file is not None:
                file.append(rollout)
            if bar is not None:
                bar.step(not rollout.failed)
            if on_rollout is not None:
                on_rollout(rollout)

        await _work(simulator, iter(todo), max_turns, min(concurrency, len(todo)), finished)
    return [done[job.id] for job in jobs]


async def _work(
    simulator: "ChatSimulator",
    todo: Iterator[Job],
    max_turns: int,
    workers: int,
    finished: Callable[[Rollout], None],
) -> None:
    async def work() -> None:
        for job in todo:
            talk = await simulator.talk(job.prefix, max_turns, seed=job.seed, id=job.id)
            finished(talk.rollout)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except ExceptionGroup as several:  # a full disk, a callback that broke: the others met the same
        raise several.exceptions[0] from None


def _jobs(simulator: "ChatSimulator", prefixes: Iterable[Messages], n: int, max_turns: int, seed: int) -> list[Job]:
    settings = {
        "assistant": simulator.assistant.describe(),
        "user": simulator.user.describe(),
        "limits": asdict(simulator.limits),
        "max_turns": max_turns,
        "seed": seed,
    }
    told = json.dumps(settings, sort_keys=True, default=str)
    counted: Counter[str] = Counter()
    jobs = []
    for prefix in map(checked, prefixes):
        what = hashlib.sha256(f"{told}\n{json.dumps(prefix)}".encode()).hexdigest()[:16]
        for _ in range(n):
            ident = f"{what}-{counted[what]}"
            counted[what] += 1
            drawn = int(hashlib.sha256(f"{seed}/{ident}".encode()).hexdigest()[:8], 16)
            jobs.append(Job(ident, prefix, drawn))
    return jobs
