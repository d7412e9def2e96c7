"""A room made again from its log: the state moves on, and what was published on the way comes out."""

import logging
from collections.abc import AsyncIterator

from palaver.core import room as rules
from palaver.core.effects import Publish, Rewrite
from palaver.core.protocol import encode
from palaver.core.state import RoomState
from palaver.hub.log import Read

logger = logging.getLogger(__name__)


async def replay(
    read: Read, state: RoomState, *, until: int | None = None, limit: int = 10_000
) -> AsyncIterator[tuple[int, list[tuple[int, bytes]]]]:
    """Apply what the log holds above the state, up to the position `until`, in steps of about `limit` entries.

    Yields how many entries were applied and what they published, as the archive wants it: `seq` and JSON.
    """
    while entries := await read(state.name, state.applied, limit):
        published: list[tuple[int, bytes]] = []
        applied = 0
        for position, entry in entries:
            if until is not None and position > until:
                break
            state.applied = position
            applied += 1
            try:
                effects = rules.apply(state, entry)
            except Exception:  # as when it was live: a mistake of ours must not cost the room what comes after it
                logger.exception("room %s: entry %s at %d was not carried out", state.name, entry.id, position)
                continue
            changed = [effect.message for effect in effects if isinstance(effect, Publish | Rewrite)]
            published += [(message.seq, encode(message)) for message in changed]
        yield applied, published
        if applied < len(entries):
            return
