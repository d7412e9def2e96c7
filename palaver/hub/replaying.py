"""A room made again from its log: the state moves on, and what was published on the way comes out."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice, takewhile
from typing import Final

from palaver.core import alarm
from palaver.core import room as rules
from palaver.core.effects import Publish, Rewrite
from palaver.core.entry import Entry
from palaver.core.protocol import encode
from palaver.core.state import RoomState
from palaver.hub.log import Read

logger = logging.getLogger(__name__)

READ: Final = 10_000
"""Entries asked for together: to find a place among large blocks costs SQLite as much as to read a thousand entries."""
STEP: Final = 200
"""Entries applied together: others wait for no more of them."""


async def replay(
    read: Read, state: RoomState, *, until: int | None = None, kept: int = 0
) -> AsyncIterator[tuple[int, list[tuple[int, bytes]]]]:
    """Apply what the log holds above the state, up to the position `until`, step by step; others may go on between.

    Yields how many entries were applied and what they published, as the archive wants it: `seq` and JSON. Messages up
    to `kept` are left out, which it has, but for what is said of their change.
    """
    while entries := await read(state.name, state.applied, READ):
        wanted = iter(entries)
        if until is not None:
            wanted = takewhile(partial(_is_within, until), entries)
        left = len(entries)
        for _ in range(0, left, STEP):
            count, published = _carry_out(state, islice(wanted, STEP), kept)
            left -= count
            yield count, published
            await asyncio.sleep(0)
        if left:  # they are above `until`
            return


def _is_within(until: int, positioned: tuple[int, Entry]) -> bool:
    return positioned[0] <= until


def _carry_out(
    state: RoomState, entries: Iterable[tuple[int, Entry]], kept: int
) -> tuple[int, list[tuple[int, bytes]]]:
    published: list[tuple[int, bytes]] = []
    count = 0
    with _collector_at_rest(), alarm.put_off(state):
        for position, entry in entries:
            count += 1
            state.applied = position
            try:
                effects = rules.apply(state, entry)
            except Exception:  # as when it was live: a mistake of ours must not cost the room what comes after it
                logger.exception("room %s: entry %s at %d was not carried out", state.name, entry.id, position)
                continue
            for effect in effects:
                if (type(effect) is Publish and effect.message.seq > kept) or type(effect) is Rewrite:
                    published.append((effect.message.seq, encode(effect.message)))
    return count, published


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Nothing here is in a cycle: looking for some took 7 % of a replay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
