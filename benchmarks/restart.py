"""How fast a room of a million entries is back: from its snapshot, and by replaying all of its log.

The log is written as a busy hub writes it: words of moderators and of four models that were granted a turn, with
passes, raised hands, commands, comings and goings between; and beside it the archive, as it lies there after any life
of a hub. A hub then opens the room over it, in a process of its own each time: as on a restart without a snapshot that
it can read; from the snapshot; and with the archive thrown away, which is made again. The same once more, a quarter as
long, without models: what it costs that the rules find out anew who had the floor.

    python benchmarks/restart.py [--entries 1000000] [--json]
"""

import argparse
import asyncio
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from palaver.cli.common import run_async
from palaver.core import room
from palaver.core.effects import Publish
from palaver.core.entry import Entry, Joined, Left, Logged
from palaver.core.message import Role
from palaver.core.protocol import Command, FloorRequest, Pass, Say, encode
from palaver.core.state import RoomState, encode_state
from palaver.hub.hub import Hub
from palaver.hub.sqlite_file import FILE
from palaver.hub.sqlite_log import SqliteLog

ROOM: Final = "main"
START: Final = 1_700_000_000.0
PEOPLE: Final = ("Ann", "Bob", "Cleo")
MODELS: Final = ("Zen Sage", "TinkerBot", "Poet", "Historian")
WORDS: Final = ("what", "the", "hub", "orders", "room", "decides", "and", "everybody", "hears", "it", "in", "order")
BLOCK: Final = 2000
"""Entries handed over together."""
SNAPSHOT_BAR: Final = 2.0
REPLAY_BAR: Final = 100_000


class Talk:
    """A conversation made entry by entry, as the rules allow it: models speak under the turns they are granted."""

    def __init__(self, models: tuple[str, ...], seed: int = 1) -> None:
        self._models = models
        self.state = RoomState(name=ROOM)
        self.published: list[tuple[int, bytes]] = []
        """What the archive has not got yet."""
        self._dice = random.Random(seed)
        self._count = 0
        self._now = START
        self._roles: dict[str, Role] = {}

    def entries(self, count: int) -> Iterator[Entry]:
        """So many entries; the first ones seat everybody."""
        for name in (*PEOPLE, *self._models):
            self._roles[name] = "moderator" if name in PEOPLE else "model"
            yield self._taken(name, Joined(hub="hub", seed=7))
        yield self._taken("Ann", Command(id="hops", text="/hops 0"))
        while self._count < count:
            yield self._next()

    def _next(self) -> Entry:
        holders = list(self.state.floor.grants.values())
        what = self._dice.random()
        if holders and what < 0.62:
            given = self._dice.choice(holders)
            if what < 0.03:
                return self._taken(given.name, Pass(turn=given.turn, reason="nothing to add"))
            meta = {"model": "tiny", "prompt_tokens": 800, "completion_tokens": 40, "seconds": 0.8}
            return self._taken(given.name, Say(id=self._ident(), content=self._text(), turn=given.turn, meta=meta))
        if what < 0.64 and self._models:
            return self._taken(self._dice.choice(self._models), FloorRequest(urgency=0.5))
        if 0.64 <= what < 0.65:
            return self._taken("Ann", Command(id=self._ident(), text=f"/topic {self._text()}"))
        if 0.65 <= what < 0.66 and self._models:
            return self._come_or_go(self._dice.choice(self._models))
        return self._taken(self._dice.choice(PEOPLE), Say(id=self._ident(), content=self._text()))

    def _come_or_go(self, name: str) -> Entry:
        member = self.state.members.get(name.casefold())
        left = Left(connection=member.connection, reason="left") if member else None
        return self._taken(name, left or Joined(hub="hub", seed=7))

    def _ident(self) -> str:
        return f"{self._dice.getrandbits(64):016x}"

    def _text(self) -> str:
        return " ".join(self._dice.choices(WORDS, k=self._dice.randrange(4, 30)))

    def _taken(self, name: str, frame: Logged) -> Entry:
        self._count += 1
        self._now += self._dice.random() * 0.2
        session = f"session of {name}"
        entry = Entry(
            id=f"e.{self._count}",
            room=ROOM,
            session=session,
            name=name,
            role=self._roles[name],
            time=self._now,
            frame=frame,
        )
        messages = [effect.message for effect in room.apply(self.state, entry) if isinstance(effect, Publish)]
        self.published += [(message.seq, encode(message)) for message in messages]
        return entry


async def write(folder: Path, count: int, models: tuple[str, ...]) -> bytes:
    """Write the log; the room's state at its end comes back."""
    log = SqliteLog(folder)
    await log.open()
    talk = Talk(models)
    for number, entry in enumerate(talk.entries(count), 1):
        log.append(entry)
        if number % BLOCK == 0:
            log.record(ROOM, talk.published)
            talk.published = []
            await asyncio.sleep(0)
            await log.room_made()
    log.record(ROOM, talk.published)
    await log.read(ROOM, count)  # all is written once this is answered
    talk.state.applied = count
    await log.close()
    return encode_state(talk.state)


def opened(folder: Path) -> dict[str, Any]:
    """A hub that begins anew and has the room: `seconds` until then, those of the processor, and its state's `hash`."""
    done = subprocess.run([sys.executable, __file__, "--open", folder], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


async def open_room(folder: Path) -> int:
    """What `opened` runs; prints one line of JSON."""
    log = SqliteLog(folder)
    hub = Hub(log=log, archive=log, name="later")  # so that nobody is sent away, and the states can be compared
    started, worked = time.perf_counter(), time.process_time()
    await hub.open()
    host = await hub.room(ROOM)
    figures: dict[str, Any] = {"seconds": time.perf_counter() - started, "work": time.process_time() - worked}
    assert host.state.applied, "the room is empty"
    figures["hash"] = sha256(encode_state(host.state)).hexdigest()
    await hub.close()  # keeps a snapshot
    print(json.dumps(figures))
    return 0


def forget_archive(folder: Path) -> None:
    """Take out what was published, and the snapshot that would spare a replay."""
    with closing(sqlite3.connect(folder / FILE)) as database:
        database.executescript("DELETE FROM messages; DELETE FROM snapshots")


async def measure(count: int, models: tuple[str, ...] = MODELS) -> dict[str, float]:
    """Write a log, replay it whole, then open it from the snapshot which that left."""
    with tempfile.TemporaryDirectory(prefix="restart-") as name:
        folder = Path(name)
        started = time.perf_counter()
        written = await write(folder, count, models)
        print(f"{count:,} entries written in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        replayed, restored = [await asyncio.to_thread(opened, folder) for _ in range(2)]
        await asyncio.to_thread(forget_archive, folder)
        remade = await asyncio.to_thread(opened, folder)
        size = await asyncio.to_thread(lambda: sum(path.stat().st_size for path in folder.iterdir()))
    if {sha256(written).hexdigest()} != {each["hash"] for each in (replayed, restored, remade)}:
        raise SystemExit("the room that came back is not the room that was")
    return {
        "entries": count,
        "replay_s": replayed["seconds"],
        "replayed_per_s": count / replayed["seconds"],
        "replayed_per_cpu_s": count / replayed["work"],
        "snapshot_s": restored["seconds"],
        "replayed_with_archive_per_s": count / remade["seconds"],
        "mib": size / 2**20,
    }


def main() -> int:
    """Measure and print; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="one line of JSON for programs")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        return run_async(open_room(options.open))
    figures = asyncio.run(measure(options.entries))
    if not options.json:
        print(with_models(figures), flush=True)
    people = asyncio.run(measure(options.entries // 4, ()))
    if options.json:
        print(json.dumps({"with_models": figures, "people": people}))
        return 0
    print(f"        without models, entries/s: {people['replayed_per_s']:,.0f}")
    print(f"          for each CPU second: {people['replayed_per_cpu_s']:,.0f}")
    return 0 if figures["snapshot_s"] < SNAPSHOT_BAR and figures["replayed_per_s"] >= REPLAY_BAR else 1


def with_models(figures: dict[str, float]) -> str:
    """The figures that have a bar, for reading."""
    rate, seconds = figures["replayed_per_s"], figures["snapshot_s"]
    lines = (
        f"{figures['entries']:,} entries, {figures['mib']:,.0f} MiB with the archive",
        f"{verdict(seconds < SNAPSHOT_BAR)}  back from the snapshot, s: {seconds:.2f} (< {SNAPSHOT_BAR:g})",
        f"{verdict(rate >= REPLAY_BAR)}  replayed in full, entries/s: {rate:,.0f} (>= {REPLAY_BAR:,})",
        f"          for each CPU second: {figures['replayed_per_cpu_s']:,.0f}",
        f"        with the archive made again: {figures['replayed_with_archive_per_s']:,.0f}",
    )
    return "\n".join(lines)


def verdict(held: bool) -> str:
    """As in `benchmarks/fanout.py`."""
    return "   met" if held else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
