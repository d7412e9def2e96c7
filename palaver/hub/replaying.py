"""A room made again from its log: the state moves on, and what was published on the way comes out."""

from collections.abc import AsyncIterator

from palaver.core import room as rules
from palaver.core.effects import Publish, Rewrite
from palaver.core.protocol import encode
from palaver.core.state import RoomState
from palaver.hub.log import Log


async def replay(
    log: Log, state: RoomState, *, until: int | None = None, limit: int = 10_000
) -> AsyncIterator[tuple[int, list[tuple[int, bytes]]]]:
    """Apply what the log holds above the state, up to the position `until`, in steps of about `limit` entries.

    Yields how many entries were applied and what they published, as the archive wants it: `seq` and JSON.
    """
    while entries := await log.read(state.name, state.applied, limit):
        published: list[tuple[int, bytes]] = []
        applied = 0
        for position, entry in entries:
            if until is not None and position > until:
                break
            for effect in rules.apply(state, entry):
                if isinstance(effect, Publish | Rewrite):
                    published.append((effect.message.seq, encode(effect.message)))
            state.applied = position
            applied += 1
        yield applied, published
        if until is not None and state.applied >= until:
            return
