"""Carries a scene out in a room of a hub: seats its models, lets turn after turn through, ends it, has it judged.

The director is a moderator like any other. The room stands paused between turns and `/step` lets exactly one turn
through, so what evaluators say about a turn is heard before the next begins. People may watch, steer and speak.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from palaver.core.errors import PalaverError
from palaver.core.message import same_name
from palaver.core.protocol import Ack, Join, Nack
from palaver.evaluation.panel import Panel
from palaver.evaluation.statistics import statistics
from palaver.models.model import Model
from palaver.participants.link import Answer, Link
from palaver.scenes.episode import EpisodeLog
from palaver.scenes.orders import ONE_EACH_TURN, policy_command
from palaver.scenes.personas import persona
from palaver.scenes.progress import Progress
from palaver.scenes.scene import Scene
from palaver.scenes.seats import Seats
from palaver.scenes.watch import Watch

logger = logging.getLogger(__name__)

OPENING: Final = "The conversation begins."
_ENDED: Final = "the conversation has ended"
"""How a room refuses what would make somebody speak after its end."""
_PAST: Final = 60.0
"""Seconds that the room's past may take to arrive."""
_ARRIVAL: Final = 30.0
"""Seconds until a model must be seated."""
_LONGEST: Final = 10_000
"""Characters of what a person is told in a whisper before the scene."""
_ANSWER: Final = 30.0
"""Seconds that the hub may take to answer a command."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds."""

    reply: float = 300.0
    """For one agent's action (the lease of its floor)."""
    people: float = 600.0
    """For people to join before the scene begins."""


async def run_scene(
    scene: Scene,
    models: Mapping[str, Model],
    *,
    url: str,
    room: str,
    token: str | None = None,
    panel: Panel | None = None,
    patience: Patience = Patience(),  # frozen
    so_far: Progress | None = None,
    keep: Callable[[Progress], Awaitable[None]] | None = None,
) -> EpisodeLog:
    """Hold the conversation in `room` of the hub at `url`; `models` has one for each id that the scene names.

    What goes wrong with a model, a seat or the hub comes back as `status="failed"` with the `error`, and with all
    that was said until then. Cancelling it empties the seats. `token` must admit moderators.

    `keep` is awaited with how far it has come: when the scene is set, after every turn, and before it ends. Given as
    `so_far` later, the conversation goes on in its room: what was said stays said, and a turn that was cut off is
    finished.
    """
    name = f"director-{hashlib.sha256(room.encode()).hexdigest()[:6]}"  # the same after a restart: its pause is its own
    so_far = so_far or Progress()
    watch, panel = Watch(scene, name, so_far), panel or Panel([])
    panel.take_up(so_far.scores)
    link = Link(url, Join(name=name, role="moderator", room=room, token=token, deltas=False, after=0))
    director = _Director(link, watch, panel, patience, keep)
    director.turns, director.why = so_far.turns, so_far.why
    error: str | None = None
    try:
        async with link:
            await director.direct(scene, models, url, token)
    except PalaverError as failure:
        error = str(failure)
        logger.warning("the conversation in %s failed: %s", room, failure)
    else:
        await panel.at_end(director.turns, watch.done())
    why = director.why if error is None else f"failed: {error}"
    names = [agent.name for agent in scene.agents]
    return EpisodeLog(
        room=room,
        scenario=scene.scenario,
        status="completed" if error is None else "failed",
        reasoning=f"{why}\n{panel.reasoning()}".strip(),
        turn_count=director.turns,
        messages=list(watch.messages),
        results=panel.results(names),
        agents={agent.name: _name_of(agent.model, models) for agent in scene.agents},
        error=error,
        unscored=panel.unscored(),
        statistics=statistics(watch.messages, names=names, silences=watch.silences.kept()).as_dict(),
    )


def _name_of(ident: str | None, models: Mapping[str, Model]) -> str | None:
    return models[ident].name if ident is not None and ident in models else ident


class _Director:
    def __init__(
        self,
        link: Link,
        watch: Watch,
        panel: Panel,
        patience: Patience,
        keep: Callable[[Progress], Awaitable[None]] | None,
    ) -> None:
        self.turns = 0
        self.why = ""
        self._link = link
        self._watch = watch
        self._panel = panel
        self._patience = patience
        self._keep = keep
        self._passes_kept = 0
        self._changed = asyncio.Event()
        self._failure: PalaverError | None = None
        self._steps_end = 0
        """When so many messages of agents were heard in this turn, the room has paused itself."""

    async def direct(self, scene: Scene, models: Mapping[str, Model], url: str, token: str | None) -> None:
        """From the first command to the last."""
        reading = asyncio.create_task(self._read(), name=f"reading of {self._link.name}")
        seats = Seats(
            scene,
            models,
            url=url,
            room=self._link.join.room,
            token=token,
            failed=self._fail,
            sent_away=self._sent_away,
            said=self._said,
        )
        try:
            async with seats:
                try:
                    await self._until(lambda: self._watch.knows_the_past, _PAST, "the room's past did not arrive")
                    if not self.why:
                        await self._prepare(scene, seats)
                        self.why = await self._turns(scene)
                        await self._keep_progress()
                    await self._end(self.why)
                except PalaverError as error:
                    with contextlib.suppress(PalaverError):
                        await self._end(f"failed: {error}")
                    raise
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _prepare(self, scene: Scene, seats: Seats) -> None:
        lease = f"/lease {self._patience.reply:g}"
        for command in ("/pause", "/hops 0", lease, policy_command(scene)):
            await self._command(command)
        if scene.scenario:
            await self._command(f"/topic {' '.join(scene.scenario.split())[:500]}")
        await seats.take(self._arrived)
        people = [agent.name for agent in scene.agents if agent.model is None]
        await self._until(
            lambda: all(map(self._watch.has, people)), self._patience.people, f"not all came: {', '.join(people)}"
        )
        if not any(message.sender == "system" and message.content == OPENING for message in self._watch.messages):
            await self._open(scene)

    async def _open(self, scene: Scene) -> None:
        for agent in scene.agents:
            if agent.model is None and (agent.wants or agent.hides):
                await self._command(f'/w "{agent.name}" {persona(scene, agent.name)[:_LONGEST]}')
        await self._command(f"/sys {OPENING}")
        self._watch.end_turn()
        await self._keep_progress()

    async def _keep_progress(self) -> None:
        self._passes_kept = len(self._watch.passed)
        if self._keep is not None:
            await self._keep(self._watch.progress(self.turns, self._panel.kept(), self.why))

    def _said(self, name: str) -> int:
        return sum(same_name(message.sender, name) for message in self._watch.messages)

    async def _arrived(self, name: str) -> None:
        await self._until(lambda: self._watch.has(name), _ARRIVAL, f"{name} could not join the room")

    async def _turns(self, scene: Scene) -> str:
        """Turn after turn; why there are no more."""
        while self.turns < scene.max_turns:
            if len(self._watch.present()) < min(2, len(scene.agents)):
                left = ", ".join(self._watch.present()) or "nobody"
                return f"only {left} is left after {self.turns} turns"
            self._watch.begin_turn()
            await self._turn(scene)
            if self._watch.ended:
                return self._watch.ended
            self.turns += 1
            over = await self._panel.after_turn(self.turns, self._watch.done())
            if over:
                return over
            await self._keep_progress()
        return f"all {scene.max_turns} turns are done"

    async def _turn(self, scene: Scene) -> None:
        """Let one turn through: every agent once, or one agent, as the order wants it. The room is paused after it."""
        watch, one = self._watch, scene.order in ONE_EACH_TURN
        await self._until(lambda: bool(watch.ended or watch.here()))  # all are muted: that may last

        def over() -> bool:
            return bool(watch.ended) or watch.turn_is_over(one=one)

        while not over():
            if waiting := watch.waiting(one=one):
                await self._let_through(len(waiting), over)
            elif not await self._met(over, self._patience.people):
                break  # only people are missing: they did nothing
        await self._close_turn()

    async def _let_through(self, steps: int, over: Callable[[], bool]) -> None:
        """So many actions of agents. Back when they are done, or when a moderator's pause has ended."""
        watch, limit = self._watch, self._patience.reply * 1.1 + 10
        self._steps_end = watch.heard + steps
        if not await self._step(steps, over):
            return
        alone = watch.on_the_floor()
        if len(alone) == 1:  # nobody else gives it anything to answer; refused where it has acted already
            await self._ask(f'/floor "{watch.room.seats[alone[0]].name}"')
        await self._until(lambda: over() or not watch.is_paused or watch.is_held, limit, "the room did not go on")
        await self._until(lambda: over() or watch.is_paused, limit, f"nobody acted for {limit:.0f} s")
        if watch.heard < self._steps_end:  # a moderator has paused it: that takes as long as it takes
            await self._until(lambda: over() or not watch.is_paused or watch.heard >= self._steps_end)

    async def _step(self, steps: int, over: Callable[[], bool]) -> bool:
        """Let so many through, once no moderator wants silence. A pause that we have not seen yet stands: its epoch."""
        while True:
            await self._until(lambda: over() or not self._watch.is_held)
            if over():
                return False
            if await self._try_step(steps, over):
                return True

    async def _try_step(self, steps: int, over: Callable[[], bool]) -> bool:
        watch, epoch = self._watch, self._watch.epoch
        answer = await self._ask(f"/step {steps} {epoch}")
        if isinstance(answer, Ack):
            return True
        if answer.reason.startswith(_ENDED):
            watch.ended = watch.ended or answer.reason
        await self._until(lambda: over() or watch.epoch != epoch, _ANSWER, f"/step was refused: {answer.reason}")
        return False

    async def _close_turn(self) -> None:
        watch = self._watch
        as_expected = watch.heard >= self._steps_end and await self._met(lambda: watch.is_paused, 1.0)
        if not as_expected and not watch.is_paused and not watch.ended:
            await self._command("/pause")
            await self._until(lambda: bool(watch.is_paused or watch.ended), _ANSWER, "the room did not pause")
        watch.end_turn()

    async def _end(self, why: str) -> None:
        if not self._watch.ended:
            await self._command(f"/end {' '.join(why.split())[:1000]}")

    # --- the room -----------------------------------------------------------------------------------------------------

    async def _command(self, text: str) -> None:
        answer = await self._ask(text)
        if isinstance(answer, Nack) and not self._watch.ended:
            raise PalaverError(f"{text} was refused: {answer.reason}")

    async def _ask(self, command: str) -> Answer:
        """The hub's answer; a hub that cannot keep anything just now (a full disk) is asked again for a while."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._patience.reply
        while True:
            try:
                async with asyncio.timeout(_ANSWER):
                    answer = await self._link.command(command)
            except TimeoutError:
                raise PalaverError(f"the hub did not answer {command} within {_ANSWER:.0f} s") from None
            if isinstance(answer, Ack) or answer.code != "unavailable" or clock() >= until:
                return answer
            await asyncio.sleep(answer.retry_after or 1.0)

    async def _until(self, met: Callable[[], bool], limit: float | None = None, problem: str = "") -> None:
        """Wait until it is so; raises what went wrong in the room, or `problem` where nothing came for `limit` s."""
        if not await self._met(met, limit):
            raise PalaverError(problem)

    async def _met(self, met: Callable[[], bool], limit: float | None) -> bool:
        while not met():
            self._check()
            if len(self._watch.passed) > self._passes_kept:  # no archive tells of a pass
                await self._keep_progress()
            self._changed.clear()
            try:
                async with asyncio.timeout(limit):
                    await self._changed.wait()
            except TimeoutError:
                return False
        self._check()
        return True

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._watch.failure:
            raise PalaverError(self._watch.failure)

    def _fail(self, error: PalaverError) -> None:
        self._failure = self._failure or error
        self._changed.set()

    def _sent_away(self, name: str) -> None:
        self._watch.leave(name)
        self._changed.set()

    async def _read(self) -> None:
        try:
            async for received in self._link:
                self._watch.take(received)
                self._changed.set()
            if not self._watch.ended:
                self._watch.ended = "the hub closed the room"
                self._changed.set()
        except PalaverError as error:
            self._fail(error)
