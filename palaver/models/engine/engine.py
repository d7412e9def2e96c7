"""One thread that owns the weights: it takes requests from a queue and decodes all that are due together.

Replies join and leave between two steps (continuous batching). A step computes one token of each reply that is
being decoded and a bounded piece of each prompt that is still being read, so a long prompt neither stops the others'
words nor a cancel.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch

from palaver.models.engine.adapters import Adapters
from palaver.models.engine.reply import Reply
from palaver.models.engine.request import Outcome, Request
from palaver.models.engine.rows import RowStore
from palaver.models.engine.runners import Runner, Work
from palaver.models.engine.sampling import draw_all
from palaver.models.engine.text import Decode
from palaver.models.engine.threads import Cores
from palaver.models.engine.trial import runner_for
from palaver.models.model import StopReason, Usage

logger = logging.getLogger(__name__)

_STEP_SECONDS = 0.25
"""A step's share of prompt reading is sized to take about this long; layers are checked for a cancel besides."""
_SMALLEST_PIECE = 32
_LARGEST_PIECE = {"cpu": 512, "cuda": 2048, "mps": 512}


class _GivenUp(Exception):
    """A step was given up because a reply in it was cancelled."""


class Scheduler:
    """Decides what a step computes, and learns how much of a prompt fits into one."""

    def __init__(self, device_type: str, *, in_pieces: bool = True) -> None:
        self._in_pieces = in_pieces
        self._largest = _LARGEST_PIECE.get(device_type, 512)
        self._budget = min(128, self._largest)

    def plan(self, replies: Sequence[Reply]) -> list[tuple[Reply, list[int]]]:
        """Tokens to compute for each reply: the one drawn last, or the next piece of its prompt, oldest first."""
        budget = self._budget
        planned = []
        for reply in replies:
            if not reply.pending:  # computed in a step that was then given up: the logits are lost
                reply.row.crop(len(reply.seen) - 1)
            pending = reply.pending
            if len(pending) > 1 and self._in_pieces:
                pending = pending[:budget]
                budget -= len(pending)
            if pending:
                planned.append((reply, pending))
        return planned

    def learn(self, tokens: int, seconds: float) -> None:
        """Adapt the piece of prompt that a step reads to how long the last one took."""
        if tokens < _SMALLEST_PIECE:
            return
        fitting = int(tokens / max(seconds, 1e-4) * _STEP_SECONDS)
        self._budget = max(_SMALLEST_PIECE, min(self._largest, fitting, 2 * self._budget))


class Engine:
    """Decodes replies of any number of conversations over one loaded model. Thread-safe: `submit` and `close`."""

    def __init__(
        self,
        model: Any,
        *,
        device: torch.device,
        decode: Decode,
        end_tokens: frozenset[int],
        attn: str = "auto",
        max_batch: int = 8,
        cache_bytes: int = 1 << 30,
        cores: Cores | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        with torch.inference_mode():
            self.runner: Runner = runner_for(model, device, attn, adapters, cache_bytes)
        self.device = device
        self.max_batch = max_batch
        self.rows = RowStore(cache_bytes, self.runner.new_row)
        self.cores = cores
        self.steps = 0
        self._decode = decode
        self._end_tokens = end_tokens
        self._scheduler = Scheduler(device.type, in_pieces=self.runner.reads_in_pieces)
        self._waiting: deque[Request] = deque()
        self._active: list[Reply] = []
        self._aside: deque[Reply] = deque()
        """Begun, then without room on the card; each goes on when another one ends."""
        self._wake = threading.Condition()  # guards _waiting and _closing
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="palaver-engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Queue a request; its `on_done` is called exactly once, in the engine's thread."""
        with self._wake:
            if not self._closing:
                self._waiting.append(request)
                self._wake.notify()
                return
        request.on_done(_unstarted(request, "error", "the engine is closed"))

    def close(self) -> None:
        """End all replies as cancelled, stop the thread and let go of the caches. Blocks for one step at most."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def is_open(self) -> bool:
        """Whether it takes requests."""
        return not self._closing

    def _run(self) -> None:
        with torch.inference_mode():
            while not self._closing:
                try:
                    self._seat(self._next())
                    self._step()
                except Exception as error:
                    logger.exception("the engine failed; the replies under way are given up")
                    self._fail_all(f"{type(error).__name__}: {error}")
        for reply in (*self._active, *self._aside):
            reply.finish("cancelled", "the engine was closed")
        for request in self._waiting:
            request.on_done(_unstarted(request, "cancelled", "the engine was closed"))
        self._active.clear()
        self._aside.clear()
        self._waiting.clear()
        self.rows.clear()

    def _next(self) -> list[Request]:
        """Wait for work; the requests that there is room for, and those that are over before they began."""
        with self._wake:
            while not self._waiting and not self._active and not self._closing:
                self._wake.wait()
            fresh = []
            for request in [request for request in self._waiting if _is_over(request)]:
                self._waiting.remove(request)
                fresh.append(request)
            while self._waiting and not self._aside and len(self._active) + len(fresh) < self.max_batch:
                fresh.append(self._waiting.popleft())
            return fresh

    def _seat(self, fresh: Sequence[Request]) -> None:
        """Give each its row and a place in the batch."""
        if fresh and self.cores is not None:
            self.cores.settle()
        for request in fresh:
            try:
                row = self.rows.take((request.adapter, request.cache_key), request.tokens)
            except torch.cuda.OutOfMemoryError:  # copying a common beginning; without it there is less to hold
                self.rows.clear()
                row = self.runner.new_row()
            self._active.append(Reply(request, row, self._decode))

    def _step(self) -> None:
        """Compute one token of each reply and a piece of each prompt; end what is over."""
        self._end_due()
        planned = self._scheduler.plan(self._active)
        if not planned:
            return
        started = time.perf_counter()
        try:
            self._forward(planned)
        except _GivenUp:
            return
        except torch.cuda.OutOfMemoryError as error:
            self._make_room(error)
        self.steps += 1
        self._scheduler.learn(sum(len(tokens) for _, tokens in planned), time.perf_counter() - started)

    def _forward(self, planned: Sequence[tuple[Reply, list[int]]]) -> None:
        """Compute the plan, then draw a token for each reply whose prompt has been read."""
        prompts = [reply for reply, tokens in planned if len(tokens) > 1]

        def check() -> None:
            if any(reply.request.cancel.is_set() for reply in prompts):
                raise _GivenUp

        work = [Work(reply.row, tokens, reply.request.adapter) for reply, tokens in planned]
        logits = self.runner.forward(work, check)
        ready = [(place, reply) for place, (reply, _) in enumerate(planned) if not reply.pending]
        for _, reply in ready:
            reply.largest_batch = max(reply.largest_batch, len(ready))
        if not ready:
            return
        if len(ready) < len(planned):
            logits = logits[[place for place, _ in ready]]
        drawn = draw_all(logits, [(reply.sampler, reply.seen) for _, reply in ready])
        for (_, reply), token in zip(ready, drawn, strict=True):
            reason = reply.take(token, self._end_tokens)
            if reason is not None:
                self._end(reply, reason)

    def _end_due(self) -> None:
        now = time.monotonic()
        for reply in (*self._active, *self._aside):
            reason = reply.due_reason(now)
            if reason is not None:
                self._end(reply, reason)

    def _end(self, reply: Reply, reason: StopReason, error: str | None = None) -> None:
        """Take the reply out of the batch; its cache stays for the conversation's next turn."""
        if reply in self._aside:
            self._aside.remove(reply)
        else:
            self._active.remove(reply)
            if self._aside:
                self._active.append(self._aside.popleft())
        self.rows.keep((reply.request.adapter, reply.request.cache_key), reply.row)
        reply.finish(reason, error)

    def _fail_all(self, error: str) -> None:
        for reply in (*self._active, *self._aside):
            reply.finish("error", error)
        self._active.clear()
        self._aside.clear()

    def _make_room(self, error: Exception) -> None:
        """Out of memory on the card: forget idle conversations; else the newest reply waits and is read anew later.

        A reply that does not fit alone fails.
        """
        if len(self.rows):
            self.rows.clear()
        else:
            reply = self._active.pop()
            reply.row.crop(0)
            reply.row = self.runner.new_row()
            if self._active:
                self._aside.appendleft(reply)
            else:
                reply.finish("error", f"out of memory on {self.device}: {error}")
                self._active.extend(self._aside)
                self._aside.clear()
        torch.cuda.empty_cache()


def _is_over(request: Request) -> bool:
    late = request.deadline is not None and time.monotonic() >= request.deadline
    return late or request.cancel.is_set()


def _unstarted(request: Request, reason: StopReason, error: str) -> Outcome:
    waited = time.monotonic() - request.submitted
    return Outcome("", reason, Usage(prompt_tokens=len(request.tokens), queue_seconds=waited), error)
