"""Steps of single tokens on a card, recorded once as a CUDA graph and played from then on.

A step of a few replies asks little of a card and much of the processor that launches its thousand kernels (1.1 billion
parameters on an H100: 2.6 ms of the one, 20 to 40 of the other). Played, it costs the processor one call.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from palaver.models.engine.rows import BufferRow
from palaver.models.engine.seats import WIDTHS, Seated, Seats, width_for

logger = logging.getLogger(__name__)

_MOST_GRAPHS = 32
"""Recorded steps that are kept, least recently played out first."""

Play = Callable[[], torch.Tensor]
"""Computes the step that the inputs ask for; the logits, `[1, seats, vocabulary]`, are good until the next."""


class GraphDecoder:
    """Computes the next token of several conversations; `limit` bounds the bytes of their keys and values together.

    Where a step cannot be recorded (the model looks at values on the way, as mixtures of experts may) it says so once
    and computes nothing any more. `record` False computes every step as it comes, for tests without a card.
    """

    def __init__(self, model: Any, device: torch.device, limit: int, *, record: bool = True) -> None:
        self.is_open = True
        self._model = model
        self._device = device
        self._seats = Seats(limit, on_new_memory=self._forget)
        self._inputs = torch.zeros(2, WIDTHS[-1], dtype=torch.long, device=device)
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None
        self._plays: OrderedDict[tuple[str, int, int], Play] = OrderedDict()
        self._record = self._recorded if record else lambda compute: compute

    def step(self, rows: Sequence[BufferRow], tokens: Sequence[int], adapter: str = "") -> torch.Tensor | None:
        """The logits behind each row's token, `[len(rows), vocabulary]`, good until the next step; rows do not grow.

        None where it cannot be done here.
        """
        try:
            return self._step(rows, tokens, adapter)
        except torch.cuda.OutOfMemoryError:
            self._seats.shrink()
            self._forget()
            return None
        except (RuntimeError, ValueError) as error:
            logger.warning("steps are not recorded on %s, replies take longer: %s", self._device, _first_line(error))
            self.close()
            return None

    def close(self) -> None:
        """Let all rows go and give the memory back."""
        self.is_open = False
        self._seats.clear()
        self._forget()

    def _step(self, rows: Sequence[BufferRow], tokens: Sequence[int], adapter: str) -> torch.Tensor | None:
        seats = self._seats.arrange(rows) if self.is_open else None
        if seats is None:
            return None
        width = width_for(len(rows))
        inputs = torch.zeros(2, width, dtype=torch.long)
        for seat, row, token in zip(seats, rows, tokens, strict=True):
            inputs[0, seat], inputs[1, seat] = token, len(row.tokens)
        self._inputs[:, :width].copy_(inputs)
        logits = self._play(adapter, width)[0]
        return logits[: len(rows)] if seats == list(range(len(rows))) else logits[seats]

    def _play(self, adapter: str, width: int) -> torch.Tensor:
        key = (adapter, width, self._seats.capacity)
        if key not in self._plays:
            self._plays[key] = self._record(partial(self._compute, width))
            if len(self._plays) > _MOST_GRAPHS:
                self._plays.popitem(last=False)
        self._plays.move_to_end(key)
        return self._plays[key]()

    def _compute(self, width: int) -> torch.Tensor:
        tokens, places = self._inputs[:, None, :width]
        step = Seated(self._seats, places[0])
        logits: torch.Tensor = self._model(input_ids=tokens, position_ids=places, use_cache=False, ragged=step).logits
        return logits

    def _recorded(self, compute: Play) -> Play:
        """The step as a graph. It is computed once before, so that kernels and their workspaces are chosen."""
        with torch.cuda.device(self._device):
            if self._stream is None:  # one for all, each takes a workspace of 32 MiB
                self._stream, self._pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
            own = torch.cuda.current_stream()
            self._stream.wait_stream(own)
            with torch.cuda.stream(self._stream):
                compute()
            own.wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                logits = compute()

        def play() -> torch.Tensor:
            graph.replay()
            return logits

        return play

    def _forget(self) -> None:
        self._plays.clear()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
