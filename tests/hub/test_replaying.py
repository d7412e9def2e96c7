"""A replay gives the room that was, wherever it ends and in whatever pieces the log answers."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest

from palaver.core import room
from palaver.core.effects import Publish, Rewrite
from palaver.core.entry import Entry
from palaver.core.errors import LogUnavailable
from palaver.core.protocol import encode
from palaver.core.state import RoomState, encode_state
from palaver.hub import replaying, sqlite_log
from palaver.hub.log import Read
from palaver.hub.replaying import replay
from palaver.hub.sqlite_log import SqliteLog
from tests.core.wanderer import live

Published = list[tuple[int, bytes]]


def log_of(seed: int) -> list[Entry]:
    """What was logged in a room that lived for a while."""
    *_, (world, _, _) = live(seed, 250)
    return world.log


def lived(log: Sequence[Entry]) -> list[tuple[bytes, Published]]:
    """The room's state after each entry, and what the archive got by then."""
    state = RoomState(name="main")
    published: Published = []
    moments: list[tuple[bytes, Published]] = []
    for position, entry in enumerate(log, 1):
        state.applied = position
        for effect in room.apply(state, entry):
            if isinstance(effect, Publish | Rewrite):
                published.append((effect.message.seq, encode(effect.message)))
        moments.append((encode_state(state), list(published)))
    return moments


def reader(log: Sequence[Entry], most: int) -> Read:
    """A log that gives so many entries at a time."""

    async def read(name: str, after: int, limit: int) -> list[tuple[int, Entry]]:
        return list(enumerate(log, 1))[after : after + min(limit, most)]

    return read


async def replayed(read: Read, until: int | None = None) -> tuple[bytes, Published]:
    """The room's state at the end of a replay, and all that it published."""
    state = RoomState(name="main")
    published: Published = []
    applied = 0
    async for count, some in replay(read, state, until=until):
        applied += count
        published += some
    assert applied == state.applied
    return encode_state(state), published


@pytest.mark.parametrize("seed", range(3))
async def test_a_replay_up_to_any_entry_gives_the_room_that_was_then(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its floor, epoch and generator are part of the state."""
    monkeypatch.setattr(replaying, "STEP", 16)
    log = log_of(seed)
    moments = lived(log)
    for until in range(1, len(log) + 1, 7):
        assert await replayed(reader(log, 50), until) == moments[until - 1]
    assert await replayed(reader(log, 50)) == moments[-1]


@pytest.mark.parametrize("kept", [0, 1, 40, 10_000])
async def test_messages_that_the_archive_has_are_not_made_again_but_for_changes(kept: int) -> None:
    log = log_of(1)
    state, alone = RoomState(name="main"), RoomState(name="main")
    changed = [
        [effect.message for effect in room.apply(alone, entry) if isinstance(effect, Publish | Rewrite)]
        for entry in log
    ]
    seen, wanted = 0, list[int]()
    for message in chain(*changed):
        is_new, seen = message.seq > seen, max(seen, message.seq)
        if message.seq > kept or not is_new:
            wanted.append(message.seq)
    published = [seq async for _, some in replay(reader(log, 50), state, kept=kept) for seq, _ in some]
    assert published == wanted
    assert {1, 2} <= set(published)  # they were redacted
    alone.applied = state.applied
    assert encode_state(state) == encode_state(alone)


async def test_a_log_that_cannot_be_read_ends_the_replay_after_what_was_read() -> None:
    log = log_of(5)

    async def read(name: str, after: int, limit: int) -> list[tuple[int, Entry]]:
        if after:
            raise LogUnavailable("gone")
        return list(enumerate(log, 1))[:40]

    state = RoomState(name="main")
    with pytest.raises(LogUnavailable, match="gone"):
        async for _ in replay(read, state):
            pass
    assert encode_state(state) == lived(log)[39][0]


async def test_a_long_log_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded log's answers are bounded in bytes; what came before is not read again."""
    monkeypatch.setattr(sqlite_log, "MOST_READ", 2000)
    log = log_of(5)
    file = SqliteLog(tmp_path)
    await file.open()
    for entry in log:
        file.append(entry)
        await file.read("main", len(log))  # it is written before the next is handed over
    assert len(await file.read("main", 0)) < len(log)
    assert await replayed(file.read) == lived(log)[-1]
    assert [entry for _, entry in await file.read("main", len(log) - 1)] == log[-1:]
    await file.close()
