"""A hub with thousands of idle members and hundreds of busy rooms: its memory, and how long a delivery takes.

Palaver beside `nats-server`'s websocket listener (core NATS, which keeps nothing), in one run on the same cores.

    python benchmarks/crowd.py [--idle 5000] [--rooms 200] [--members 5] [--rate 5] [--seconds 10] [--json]
"""

import argparse
import json
import math
import select
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from fanout import busy_seconds, own_seconds, prepare
from load.crowd import Crowd
from load.process import HUBS, Hub, Started, installed
from load.traffic import LONGEST_US, latencies, percentiles

Figures = dict[str, float]
ROWS = (
    ("mib_empty", "MiB before anybody came", 1),
    ("mib", "MiB with everybody there", 1),
    ("mib_after", "MiB after the talk", 1),
    ("idle_kib", "KiB for each idle member", 1),
    ("messages_per_s", "messages/s, all rooms", 0),
    ("p50_ms", "delivery p50, ms", 2),
    ("p99_ms", "  p99, ms", 2),
    ("p999_ms", "  p99.9, ms", 2),
    ("cpu_per_message_us", "CPU for each message, us", 0),
    ("late_share", "sent late by the generator, %", 1),
    ("missing", "messages not delivered to somebody", 0),
    ("dropped", "members dropped", 0),
)


class Rooms:
    """Busy rooms, each a crowd of its own on the same hub; one loop reads them all.

    To be made before thousands of members sit elsewhere: a crowd waits by `select`, which knows 1,024 files.
    """

    def __init__(self, name: str, port: int, options: argparse.Namespace, stack: ExitStack) -> None:
        self._poll = select.epoll()
        self._by_number: dict[int, Crowd] = {}
        self.crowds: list[Crowd] = []
        self.said = [0] * options.rooms
        for number in range(options.rooms):
            dialect = HUBS[name].dialect()
            dialect.room = f"busy{number}"
            crowd = stack.enter_context(Crowd(dialect, port, speakers=1))
            self.crowds.append(crowd)
            self._by_number[crowd.number] = crowd
            self._poll.register(crowd.number, select.EPOLLIN)

    def seat(self, listeners: int) -> None:
        """So many listeners and one speaker take their seats in each room."""
        for crowd in self.crowds:
            crowd.seat_receivers(listeners)
            crowd.seat_speakers(1)
        self.pump(time.monotonic() + 5.0, quiet=True)

    def pump(self, until: float, *, quiet: bool = False) -> None:
        """Read whatever comes until then; with `quiet` no longer than something comes."""
        while (left := until - time.monotonic()) > 0:
            ready = self._poll.poll(min(left, 0.2) if quiet else left)
            for number, _ in ready:
                self._by_number[number].pump(0.0)
            if quiet and not ready:
                return

    def talk(self, rate: float, seconds: float) -> float:
        """Messages at random times, all rooms alike; the share that was sent more than 5 ms after its time."""
        chance = np.random.default_rng(1)
        count = int(rate * seconds)
        due = (np.cumsum(chance.exponential(1e9 / rate, count)).astype(np.int64) + time.monotonic_ns()).tolist()
        rooms = chance.integers(0, len(self.crowds), count).tolist()
        late = 0
        for at, room in zip(due, rooms, strict=True):
            if (now := time.monotonic_ns()) < at:
                self.pump(at / 1e9)
            late += now - at > 5_000_000
            crowd = self.crowds[room]
            crowd.speakers[0].send(crowd.dialect.message(0, self.said[room], at))
            self.said[room] += 1
        return late / count

    def drain(self, limit: float = 20.0) -> None:
        """Read until everybody has everything, or for so many seconds."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline and self.missing():
            self.pump(time.monotonic() + 0.05)

    def missing(self) -> int:
        """Messages that some receiver has not, counted once for each receiver's room."""
        return sum(
            abs(said - crowd.stream.count) + crowd.behind() + crowd.stream.gaps + crowd.stream.duplicates
            for said, crowd in zip(self.said, self.crowds, strict=True)
        )

    def percentiles(self) -> tuple[float, float, float]:
        """Delivery latency over all receivers of all rooms, in seconds."""
        histogram = np.zeros(LONGEST_US + 1, dtype=np.int64)
        for crowd in self.crowds:
            histogram += latencies(crowd)
        return percentiles(histogram, (0.5, 0.99, 0.999))


@contextmanager
def idle_members(name: str, hub: Hub, count: int) -> Iterator[Crowd]:
    """So many who only sit there, all in one room."""
    with Crowd(HUBS[name].dialect(), hub.port) as crowd:
        crowd.seat_receivers(count, checked=False)
        crowd.settle(quiet=1.0)
        yield crowd


def measure(name: str, cpus: set[int], options: argparse.Namespace) -> Figures:
    """One hub, from the first member to the last message."""
    with Started(name, cpus) as hub, ExitStack() as stack:
        empty = hub.memory()
        rooms = Rooms(name, hub.port, options, stack)
        idle = stack.enter_context(idle_members(name, hub, options.idle))
        with_idle = hub.memory()
        rooms.seat(options.members)
        there, cpu = hub.memory(), hub.cpu()
        late = rooms.talk(options.rate * options.rooms, options.seconds)
        rooms.drain()
        idle.pump(time.monotonic() + 0.1)
        p50, p99, p999 = rooms.percentiles()
        sent = sum(rooms.said)
        return {
            "mib_empty": empty / 2**20,
            "mib": there / 2**20,
            "mib_after": hub.memory() / 2**20,
            "idle_kib": (with_idle - empty) / options.idle / 1024,
            "messages_per_s": options.rate * options.rooms,
            "p50_ms": p50 * 1e3,
            "p99_ms": p99 * 1e3,
            "p999_ms": p999 * 1e3,
            "cpu_per_message_us": (hub.cpu() - cpu) / sent * 1e6,
            "late_share": late * 100,
            "missing": rooms.missing(),
            "dropped": len(idle.gone) + sum(len(crowd.gone) for crowd in rooms.crowds),
        }


def main() -> int:
    """Measure both and print them side by side; 1 where a message or a member was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--idle", type=int, default=5000, help="members who only sit there")
    parser.add_argument("--rooms", type=int, default=200, help="busy rooms")
    parser.add_argument("--members", type=int, default=5, help="who listen in each of them, beside one who speaks")
    parser.add_argument("--rate", type=float, default=5.0, help="messages a second in each busy room")
    parser.add_argument("--seconds", type=float, default=10.0)
    names = [name for name in ("palaver", "nats") if name in installed()]
    parser.add_argument("--hubs", default=",".join(names), help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one line of JSON for programs")
    options = parser.parse_args()
    cpus = prepare()
    begin, busy, own = time.monotonic(), busy_seconds(), own_seconds()
    results = {name: measure(name, cpus, options) for name in options.hubs.split(",")}
    lasted = time.monotonic() - begin
    others = max(0.0, (busy_seconds() - busy) - (own_seconds() - own)) / lasted / 2
    print(json.dumps(results) if options.json else table(results, options))
    if not options.json:
        print(f"{lasted:.0f} s; other processes used {others:.0%} of two cores meanwhile")
    return 1 if any(figures["missing"] or figures["dropped"] for figures in results.values()) else 0


def table(results: dict[str, Figures], options: argparse.Namespace) -> str:
    """Figures by row, hubs by column."""
    busy = f"{options.rooms} busy rooms of {options.members + 1}"
    lines = [f"{f'{options.idle:,} idle members, {busy}':<48}" + "".join(f"{name:>12}" for name in results)]
    for figure, label, digits in ROWS:
        values = [figures.get(figure, math.nan) for figures in results.values()]
        lines.append(f"{label:<48}" + "".join(f"{value:>12,.{digits}f}" for value in values))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
