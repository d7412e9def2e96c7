"""How many hubs for how many rooms: a plan from measured constants, and a simulation of a hub of that plan.

    python benchmarks/scale_model.py [--rooms 1000,10000,100000,1000000] [--seconds 20] [--json]

The model: rooms have a long-tailed number of members; some are busy, the others idle. A message costs the hub that
takes it, each other hub where the room is open, and a little for each member it goes to. Rooms are spread over cells
(one log, one NATS server or cluster, some hubs each) by the hash of their name, and over the hubs of a cell either so
that a room's members meet at one hub (`meet`), or as it happens (`scatter`).

The plan takes as many hubs as keep each below half of a core, and within memory and members. Then one hub of it is
simulated: messages arrive at random, one in ten draws several answers at once; what has come while one pass of the loop
ran is the next pass; what a pass hands over waits at the log behind what the other hubs of the cell hand over. What is
printed as p99 is the time from a message's arrival until it is on its way to everybody, without the network.
"""

import argparse
import json
import math
import random
import sys
from dataclasses import asdict, dataclass
from typing import Final, Literal

Spread = Literal["meet", "scatter"]
SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Costs:
    """Measured (`docs/benchmarks.md`, `benchmarks/logs.py`); microseconds of one core, KiB, or what is said."""

    take: float = 70.0
    """The hub that takes a message: frame, rules, log, acknowledgement."""
    hear: float = 40.0
    """Another hub where the room is open: decode, rules, archive."""
    deliver: float = 0.28
    """Each member that it goes to."""
    log_wait: float = 2000.0
    """From handing a block to the log until it is back (fsync before the confirmation)."""
    log_most: float = 5000.0
    """Messages a second that one log took."""
    member: float = 12.4
    room: float = 320.0
    """An open room with 200 messages of 300 characters in memory."""
    consumer: float = 41.0
    """What the NATS server keeps for a room that is open on one hub."""


@dataclass(frozen=True)
class Load:
    """What people and models do."""

    members: float = 6.0
    """Of a room, on average."""
    tail: float = 1.1
    """Sigma of the members' log-normal distribution: one room in a thousand has 30 times the usual number."""
    largest: int = 5000
    open: float = 0.20
    """Share of the rooms that are open (somebody is there)."""
    busy: float = 0.10
    """Share of the rooms where somebody speaks now."""
    every: float = 4.0
    """Seconds between two messages of a busy room."""


@dataclass(frozen=True)
class Limits:
    """What one hub is allowed to carry: a core by half, 2 GiB, 20,000 connections; a log by half as well."""

    busy: float = 0.5
    memory: float = 2.0 * 2**20
    members: int = 20_000


@dataclass(frozen=True)
class Plan:
    """What it takes for so many rooms."""

    rooms: int
    spread: Spread
    cells: int
    hubs: int
    members: int
    said: float
    """Messages a second, all rooms."""
    touched: float
    """Hubs that a message is applied on."""
    core: float
    """Share of a hub's core that is used."""
    memory: float
    """GiB of a hub."""
    server: float
    """GiB of a NATS server for its consumers."""
    p50: float
    p99: float
    """Milliseconds from arrival to the way out, simulated."""


def sizes_of(count: int, load: Load, dice: random.Random) -> list[int]:
    """Members of so many rooms."""
    centre = math.log(load.members) - load.tail**2 / 2
    return [min(load.largest, max(1, round(dice.lognormvariate(centre, load.tail)))) for _ in range(count)]


def touched(size: float, hubs: int, spread: Spread) -> float:
    """On how many hubs a room of that size is open."""
    if spread == "meet" or hubs == 1:
        return 1.0
    return hubs * (1 - math.pow(1 - 1 / hubs, size))


def plan(rooms: int, spread: Spread, costs: Costs, load: Load, limits: Limits, seconds: float, seed: int = 1) -> Plan:
    """Cells by what a log takes; hubs by CPU, memory and members; then one hub played through."""
    dice = random.Random(seed)
    sample = sizes_of(20_000, load, dice)
    average = sum(sample) / len(sample)
    said = rooms * load.busy / load.every
    cells = max(1, math.ceil(said / (costs.log_most * limits.busy)))
    here, members = rooms * load.open / cells, rooms * load.open * average / cells
    hubs = 1
    while True:
        on = sum(touched(size, hubs, spread) for size in sample[:2000]) / 2000
        work = said / cells * (costs.take + (on - 1) * costs.hear + average * costs.deliver) / 1e6 / hubs
        memory = (members * costs.member + here * on * costs.room) / hubs
        if work <= limits.busy and memory <= limits.memory and members / hubs <= limits.members:
            break
        hubs += 1
    own = said / cells / hubs
    p50, p99 = simulated(own, own * (on - 1), said / cells - own, costs, sample, seconds, dice)
    server = here * on * costs.consumer / 2**20
    return Plan(
        rooms, spread, cells, cells * hubs, round(members * cells), said, on, work, memory / 2**20, server, p50, p99
    )


class Log:
    """A log that several hubs write to: one block after the other; each is back a while after it was written."""

    def __init__(self, costs: Costs, others: float, dice: random.Random) -> None:
        self._write = 1 / costs.log_most
        self._rest = costs.log_wait / 1e6 - self._write
        self._others, self._dice = others, dice
        self._free = self._next = 0.0

    def back_at(self, moment: float, messages: int) -> float:
        """When a block that is handed over at a moment is back."""
        while self._others and self._next <= moment:
            self._free = max(self._free, self._next) + self._write
            self._next += self._dice.expovariate(self._others)
        self._free = max(self._free, moment) + self._write * max(1, messages)
        return self._free + self._rest * self._dice.lognormvariate(-0.08, 0.4)


def simulated(
    own: float, heard: float, others: float, costs: Costs, sizes: list[int], seconds: float, dice: random.Random
) -> tuple[float, float]:
    """Play a hub's loop: p50 and p99 in milliseconds.

    Messages a second that it takes itself, that it hears of other hubs, and that those write to the same log.
    """
    arrivals = _arrivals(own, heard, costs, sizes, seconds, dice)
    log = Log(costs, others, dice)
    waits: list[float] = []
    clock, place = 0.0, 0
    while place < len(arrivals):
        clock = max(clock, arrivals[place][0])
        end = place
        while end < len(arrivals) and arrivals[end][0] <= clock:
            end += 1
        clock += sum(cost for _, cost, _ in arrivals[place:end]) / 1e6
        mine = [moment for moment, _, taken in arrivals[place:end] if taken]
        if mine:
            back = log.back_at(clock, len(mine))
            waits += [back - moment for moment in mine]
        place = end
    waits.sort()
    if not waits:
        return 0.0, 0.0
    return waits[len(waits) // 2] * 1e3, waits[min(len(waits) - 1, int(len(waits) * 0.99))] * 1e3


def _arrivals(
    own: float, heard: float, costs: Costs, sizes: list[int], seconds: float, dice: random.Random
) -> list[tuple[float, float, bool]]:
    """When, what it costs, and whether this hub takes it itself; one message in ten draws answers from all at once."""
    found: list[tuple[float, float, bool]] = []
    for taken, frequency, cost in ((True, own, costs.take), (False, heard, costs.hear)):
        clock = 0.0
        while frequency > 0 and (clock := clock + dice.expovariate(frequency / 1.5)) < seconds:
            size = dice.choice(sizes)
            for _ in range(6 if dice.random() < 0.1 else 1):
                found.append((clock + dice.random() * 0.005, cost + size * costs.deliver, taken))
    return sorted(found)


def table(plans: list[Plan]) -> str:
    """The plans as text."""
    lines = [
        f"{'rooms':>10} {'spread':>8} {'members':>9} {'msgs/s':>7} {'cells':>6} {'hubs':>6} {'hubs a msg':>10} "
        f"{'core':>5} {'hub GiB':>8} {'server GiB':>10} {'p50 ms':>7} {'p99 ms':>7}"
    ]
    for one in plans:
        lines.append(
            f"{one.rooms:>10,} {one.spread:>8} {one.members:>9,} {one.said:>7,.0f} {one.cells:>6} {one.hubs:>6} "
            f"{one.touched:>10.1f} {one.core:>5.0%} {one.memory:>8.2f} {one.server:>10.2f} {one.p50:>7.1f} "
            f"{one.p99:>7.1f}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Hubs needed for many rooms, from measured constants, and simulated.")
    parser.add_argument("--rooms", default=",".join(map(str, SIZES)), help="sizes, separated by commas")
    parser.add_argument("--seconds", type=float, default=20.0, help="simulated seconds of a hub")
    parser.add_argument("--busy", type=float, default=Load.busy, help="share of the rooms where somebody speaks")
    parser.add_argument("--json", action="store_true", help="one line for programs")
    options = parser.parse_args()
    load = Load(busy=options.busy, open=max(Load.open, options.busy))
    plans = [
        plan(int(rooms), spread, Costs(), load, Limits(), options.seconds)
        for rooms in options.rooms.split(",")
        for spread in ("meet", "scatter")
    ]
    print(json.dumps([asdict(one) for one in plans]) if options.json else table(plans))
    return 0


if __name__ == "__main__":
    sys.exit(main())
