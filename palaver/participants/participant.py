"""A model's seat: it observes the room, and acts when it is given the floor. It never speaks without.

One turn at a time: wait the delay, take all that was said meanwhile into one prompt, generate, say. A turn ends at
once when the floor is taken away. Whatever goes wrong becomes a `pass` that says why, never silence.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from palaver.core.errors import PalaverError
from palaver.core.message import Message, same_name
from palaver.core.prompt import own_words
from palaver.core.protocol import (
    MAX_CONTENT,
    Ack,
    Cancelled,
    Event,
    FloorRequest,
    FloorView,
    Grant,
    Nack,
    Pass,
    Revoke,
    Status,
    Welcome,
)
from palaver.core.provenance import attributes
from palaver.models.model import ChatMessage, LLMResponse, Model
from palaver.models.stopping import unless_pressed
from palaver.participants.bidding import reopened, urgency
from palaver.participants.link import Answer, Link, LinkDown, Received
from palaver.participants.prompting import prompt_for
from palaver.participants.provenance import meta_of
from palaver.participants.settings import Settings
from palaver.participants.turn import Stream, Turn
from palaver.participants.utterance import Utterance, is_pass
from palaver.participants.view import RoomView, stillness

logger = logging.getLogger(__name__)

GRACE: Final = 3.0
"""Seconds that a model may take to stop once it was told to; then its call is abandoned, and the hub gets its answer
before it calls this client unresponsive (`core.due.PATIENCE`)."""
CATCH_UP: Final = 0.5
"""Seconds to wait for messages that a grant speaks of and that have not come yet."""


class Participant:
    """Sits on a link and speaks with a model. Give it the model when it is loaded: `ready(model)`.

    `change_model` opens another model by name, for `/set NAME model=…`.
    """

    def __init__(
        self,
        link: Link,
        settings: Settings,
        model: Model | None = None,
        *,
        change_model: Callable[[str], Awaitable[Model]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.link = link
        self.settings = settings
        self.model = model
        self.room = RoomView()
        self.replies = 0
        """Replies asked of the model."""
        self.has_finished = False
        """Whether it passes every turn from now on."""
        self._change_model = change_model
        self._clock = clock
        self._turn: Turn | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = asyncio.Event()

    def ready(self, model: Model) -> None:
        """The model is loaded: tell the room."""
        self.model = model
        self.link.send(Status(state="ready", text=f"{model.name} is ready"))

    async def run(self) -> None:
        """Take part until the link ends; raises what the link raises."""
        try:
            async for received in self.link:
                self._observe(received)
                self.observed(received)
        finally:
            if self._turn is not None:
                self._turn.cancel.press("leaving")
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- for those who extend it --------------------------------------------------------------------------------------

    def observed(self, received: Received) -> None:
        """Called after everything that came from the hub was taken in."""

    def took_turn(self, response: LLMResponse, answer: Answer | None) -> None:
        """Called after each turn that a model answered; `answer` is None where it passed."""

    def failed(self, reason: str) -> None:
        """Called after each turn in which there was no answer because something went wrong."""

    def stilled(self, why: str) -> None:
        """Called when nobody is to speak from now on, and when they are again: told where no moderator may watch."""
        logger.warning("room %s: %s", self.link.join.room, why)

    def finish(self, reason: str) -> None:
        """Leave the room; `run` returns then."""
        self._own(self.link.close(reason))

    # --- observing ----------------------------------------------------------------------------------------------------

    def _observe(self, received: Received) -> None:
        if isinstance(received, LinkDown):  # what was granted died with the connection
            self._stop("connection lost")
            return
        before = self.room.floor
        self.room.take(received)
        match received:
            case Grant():
                self._begin(received)
            case Revoke():
                self._revoked(received)
            case Message():
                self._heard.set()
                self._bid(received)
            case Welcome() | FloorView():
                if self.room.floor is not None and self.room.messages and reopened(before, self.room.floor):
                    self._bid(self.room.messages[-1])
                if self.room.floor is not None and (told := stillness(before, self.room.floor)):
                    self.stilled(told)
                if isinstance(received, Welcome) and self.model is None:
                    self.link.send(Status(state="loading", text="loading its model"))
                turn = self._turn
                if turn is not None and not self.room.holds(self.link.name, turn.grant.turn):
                    self._stop("the floor was taken")
            case Event(kind="setting"):
                self._set(received)

    def _bid(self, message: Message) -> None:
        """Under `bid`: say how much this message makes it want the floor."""
        bidding = self.room.floor is not None and self.room.floor.policy == "bid" and self.model is not None
        if bidding and not self.has_finished and message.to is None and not same_name(message.sender, self.link.name):
            self.link.send(FloorRequest(urgency=urgency(message, self.link.name)))

    def _begin(self, grant: Grant) -> None:
        before = self._turn
        if before is not None and before.grant.turn == grant.turn:
            return
        self._stop("another turn has begun")
        if self.has_finished:
            self.link.send(Pass(turn=grant.turn, reason="has said all"))
            return
        utterance = Utterance(self.link.name, self.room.others(self.link.name))
        turn = Turn(grant, utterance, name=self.link.name, room=self.link.join.room)
        self._turn = turn
        turn.task = self._own(self._take_turn(turn, before))

    def _revoked(self, revoke: Revoke) -> None:
        turn = self._turn
        if turn is None or turn.grant.turn != revoke.turn or turn.is_saying or turn.is_over:
            self.link.send(Cancelled(turn=revoke.turn))
            return
        turn.revoked_at = self._clock()
        self._stop(revoke.reason)

    def _stop(self, reason: str) -> None:
        turn = self._turn
        if turn is None or turn.is_saying or turn.is_over or turn.cancel.is_set():
            return
        turn.cancel.press(reason)
        asyncio.get_running_loop().call_later(GRACE, turn.abandon)

    def _set(self, event: Event) -> None:
        told = event.data.get("settings")
        if not isinstance(told, dict) or not same_name(str(event.data.get("name", "")), self.link.name):
            return
        self.settings = self.settings.changed(told)
        wanted = told.get("model")
        if isinstance(wanted, str) and wanted and self.model is not None and wanted != self.model.name:
            self._own(self._exchange_model(wanted))

    async def _exchange_model(self, name: str) -> None:
        if self._change_model is None:
            self.link.send(Status(state="ready", text="its model cannot be changed"))
            return
        self.link.send(Status(state="loading", text=f"loading {name}"))
        try:
            self.ready(await self._change_model(name))
        except Exception as error:
            logger.exception("%s keeps its model: %s could not be opened", self.link.name, name)
            self.link.send(Status(state="ready", text=f"keeps its model: {name} could not be opened: {error}"[:500]))

    def _own(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- acting -------------------------------------------------------------------------------------------------------

    async def _take_turn(self, turn: Turn, before: Turn | None) -> None:
        """Answer a grant, whatever happens."""
        try:
            if before is not None and before.task is not None:
                await asyncio.wait([before.task])
            if self.has_finished:  # the turn before was the last one, and this grant overtook its acknowledgement
                self._pass(turn, "has said all")
                return
            await unless_pressed(turn.cancel, self._wait(turn))
            if turn.cancel.is_set():
                self._stopped(turn, tokens=0)
            else:
                await self._answer(turn)
        except asyncio.CancelledError:
            if not turn.is_abandoned:
                raise
            logger.error("%s did not stop within %.0f s: its call was abandoned", self.link.name, GRACE)
            self._stopped(turn, tokens=0)
        except PalaverError as error:
            if not turn.is_saying:  # else the link has ended, and whoever runs it says why
                self._pass(turn, str(error), failed=True)
        except Exception as error:
            logger.exception("%s could not answer", self.link.name)
            self._pass(turn, f"{type(error).__name__}: {error}", failed=True)
        finally:
            turn.is_over = True
            turn.span.end()

    async def _wait(self, turn: Turn) -> None:
        """The delay; and messages that the grant speaks of may still be on their way."""
        if turn.grant.purpose == "speak":
            await asyncio.sleep(self.settings.delay)
        deadline = asyncio.get_running_loop().time() + CATCH_UP
        while self.room.last_seq < turn.grant.context:
            self._heard.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._heard.wait()
            except TimeoutError:
                return

    async def _answer(self, turn: Turn) -> None:
        settings, model = self.settings, self.model
        if model is None:
            self._pass(turn, "no model is loaded", failed=True)
            return
        prompt = prompt_for(turn.grant, self.room, settings, name=self.link.name, role=self.link.join.role)
        turn.span.link(self.room.traceparent(prompt.saw_to))
        seed = None if settings.seed is None else settings.seed + self.replies
        self.replies += 1
        stream = Stream(self.link, turn)
        with turn.asking(model.name) as span:
            response = await model.complete(
                cast(list[ChatMessage], prompt.messages),
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                stop=prompt.stop,
                seed=seed,
                on_text=stream.feed if turn.grant.purpose == "speak" else None,
                cancel=turn.cancel,
                cache_key=self.link.name,
            )
            meta = meta_of(response, prompt, settings, turn.grant, seed=seed)
            span.tell(attributes(meta))
            if not response.success:
                span.fail(response.error or response.stop_reason)
        stream.end()
        if turn.cancel.is_set():
            self._stopped(turn, tokens=response.usage.completion_tokens, content=response.content)
        else:
            await self._conclude(turn, response, meta)

    async def _conclude(self, turn: Turn, response: LLMResponse, meta: dict[str, Any]) -> None:
        """Say what the model answered, or pass with the reason."""
        said, cut = own_words(response.content, self.link.name, turn.utterance.others)
        answer: Answer | None = None
        if not response.success and not (response.stop_reason == "timeout" and said):
            self._pass(turn, response.error or "the model failed without a reason", failed=True, meta=meta)
        elif not said or is_pass(said):
            self._pass(turn, _why_silent(response, cut), meta=meta)
        else:
            if cut or response.stop_reason == "stop":
                meta["spoke_for_other"] = 1
            if turn.span.traceparent:
                meta["traceparent"] = turn.span.traceparent
            answer = await self._say(turn, said[:MAX_CONTENT], meta)
        self.took_turn(response, answer)

    async def _say(self, turn: Turn, text: str, meta: dict[str, Any]) -> Answer:
        """A hub whose log cannot take it just now (a full disk) is offered it again, as long as the floor is ours."""
        turn.is_saying = True
        clock = asyncio.get_running_loop().time
        until = clock() + turn.grant.lease
        answer = await self.link.say(text, turn=turn.grant.turn, meta=meta)
        while isinstance(answer, Nack) and answer.code == "unavailable" and clock() < until:
            await asyncio.sleep(answer.retry_after or 1.0)
            answer = await self.link.say(text, turn=turn.grant.turn, meta=meta)
        if isinstance(answer, Ack):
            turn.span.tell({"palaver.seq": answer.seq})
            spent = meta.get("completion_tokens", 0), meta.get("total_seconds", 0.0)
            logger.info("%s said message %s: %d tokens in %.2f s", self.link.name, answer.seq, *spent)
        else:
            turn.span.fail(f"not heard: {answer.reason}")
            logger.warning("%s was not heard: %s (%s)", self.link.name, answer.reason, answer.code)
        return answer

    def _pass(self, turn: Turn, reason: str, *, failed: bool = False, meta: dict[str, Any] | None = None) -> None:
        logger.log(logging.ERROR if failed else logging.INFO, "%s passes: %s", self.link.name, reason)
        turn.span.tell({"palaver.passed": reason})
        self.link.send(Pass(turn=turn.grant.turn, reason=reason[:2000], failed=failed, meta=meta))
        if failed:
            turn.span.fail(reason)
            self.failed(reason)

    def _stopped(self, turn: Turn, *, tokens: int, content: str = "") -> None:
        """Generation has stopped: say how long that took since the floor was taken."""
        now = self._clock()
        latency = now - turn.revoked_at if turn.revoked_at is not None else 0.0
        logger.info("%s stopped after %.3f s: %s", self.link.name, latency, turn.cancel.reason)
        turn.span.tell({"palaver.cancelled": turn.cancel.reason, "palaver.cancel_seconds": latency})
        text = (content or turn.utterance.raw)[:MAX_CONTENT]
        self.link.send(Cancelled(turn=turn.grant.turn, latency=max(0.0, latency), tokens=tokens, content=text))


def _why_silent(response: LLMResponse, cut: bool) -> str:
    if cut:
        return "wrote only other speakers' lines"
    if response.stop_reason == "pass" or is_pass(response.content):
        return "chose silence"
    if response.tool_calls:
        return "called a tool, and there are none here"
    if response.stop_reason == "length":
        return "had no token left for an answer, having thought before it (--max-generation-tokens allows more)"
    return "said nothing"
