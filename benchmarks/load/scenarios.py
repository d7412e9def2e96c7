"""The seven measurements. Each starts a fresh hub, plays one scene on it, and returns named figures."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from load.crowd import Crowd
from load.process import HUBS, Hub, Started
from load.stuck import StuckMember
from load.traffic import Sample, Traffic

Figures = dict[str, float | None]
"""Values by name. None says that it did not happen (a member that was never cut)."""

KNEE_P99: Final = 0.025


@dataclass(frozen=True)
class Plan:
    """How large and how long; the defaults are the full run."""

    members: int = 100
    seconds: float = 5.0
    """Of the closed loop."""
    rounds: int = 3
    """Of the closed loop: hub after hub, so that what slows the machine for a moment is not one hub's alone."""
    steady_seconds: float = 10.0
    """Of the traffic whose latency and cost is taken, and of the token stream."""
    ramp_seconds: float = 2.0
    ramp_from: float = 250
    ramp_to: float = 64_000
    tries: int = 3
    """At each rate."""
    halvings: int = 2
    """How often the interval between the last good and the first bad rate is halved."""
    echo_seconds: float = 3.0
    connections: int = 5_000
    stuck_messages: int = 10_000
    stuck_rate: float = 500.0
    frozen_seconds: float = 3.0


QUICK: Final = Plan(
    members=20,
    seconds=0.3,
    rounds=1,
    steady_seconds=0.5,
    ramp_seconds=0.3,
    ramp_from=500,
    ramp_to=1_000,
    tries=1,
    halvings=0,
    echo_seconds=0.2,
    connections=200,
    stuck_messages=200,
    frozen_seconds=0.3,
)


@dataclass(frozen=True)
class _Step:
    """A rate of the ramp, in messages a second, and what it came to."""

    rate: float
    sample: Sample | None = None

    @property
    def is_good(self) -> bool:
        return self.sample is not None and not self.sample.faults and self.sample.p99 < KNEE_P99


class Bench:
    """The scenes for one hub; `cpus` are the cores that the hub runs on."""

    def __init__(self, name: str, plan: Plan, cpus: set[int]) -> None:
        self.name, self._plan, self._cpus = name, plan, cpus
        self._dialect = HUBS[name].dialect

    @contextmanager
    def _room(
        self, receivers: int, speakers: int, *, unit_size: int = 310, role: str = "moderator"
    ) -> Iterator[tuple[Hub, Crowd]]:
        dialect = self._dialect(unit_size)
        with Started(self.name, self._cpus) as hub, Crowd(dialect, hub.port, speakers=speakers) as crowd:
            crowd.seat_receivers(receivers)
            crowd.seat_speakers(speakers, role)
            crowd.settle()
            yield hub, crowd

    def queue_up(self) -> Figures:
        """10 speakers with 8 messages under way each: what a CPU second delivers when there is always more."""
        with self._room(self._plan.members, 10) as (hub, crowd):
            sample = Traffic(crowd, hub.cpu).closed_loop(
                window=8, seconds=self._plan.seconds, warm_up=min(1.0, self._plan.seconds)
            )
            return {
                "queue_per_cpu_s": sample.per_cpu_second,
                "queue_per_s": sample.rate,
                "queue_cpu_per_million": sample.cpu_per_million,
                "queue_faults": sample.faults,
                "bytes": crowd.stream.end / crowd.stream.count if crowd.stream.count else math.nan,
            }

    def knee(self) -> Figures:
        """20 speakers at random times, ever more, until the 99th percentile of the delivery time reaches 25 ms."""
        with self._room(self._plan.members, 20) as (hub, crowd):
            good, bad = self._climb(Traffic(crowd, hub.cpu))
            return {
                "knee_per_s": good.rate if good else 0.0,
                "knee_p99_ms": good.p99 * 1e3 if good else math.nan,
                "knee_faults": (good.faults if good else 0) + (bad.wrong if bad else 0),
                "knee_missing": bad.missing if bad else 0,
                "knee_late": bad.late if bad else math.nan,
                "knee_open": float(bad is None or bad.faults > 0),
            }

    def _climb(self, traffic: Traffic) -> tuple[Sample | None, Sample | None]:
        """The samples of the highest good rate and of the lowest bad one above it; None where there was none.

        Doubles the rate until it is far too high, or a little too high twice, then halves the interval.
        """
        plan = self._plan
        good, bad = _Step(0.0), _Step(math.inf)
        rate = plan.ramp_from
        while rate <= plan.ramp_to:
            step = _Step(rate, self._try(traffic, rate))
            if step.is_good:
                good, bad = step, _Step(math.inf)
            elif bad.sample or self._is_hopeless(step.sample):
                bad = min(bad, step, key=lambda one: one.rate)
                break
            else:
                bad = step
            rate *= 2
        for _ in range(plan.halvings if good.sample and bad.sample and not bad.sample.faults else 0):
            rate = math.sqrt(good.rate * bad.rate)
            step = _Step(rate, self._try(traffic, rate))
            good, bad = (step, bad) if step.is_good else (good, step)
        return good.sample, bad.sample

    def _try(self, traffic: Traffic, rate: float) -> Sample:
        """The best of a few tries at one rate, so that somebody else's hiccup does not end the ramp."""
        tries: list[Sample] = []
        while len(tries) < self._plan.tries:
            tries.append(traffic.poisson(rate=rate, seconds=self._plan.ramp_seconds))
            if _Step(rate, tries[-1]).is_good or self._is_hopeless(tries[-1]):
                break
        return min(tries, key=lambda sample: (sample.faults, sample.p99)) if not tries[-1].faults else tries[-1]

    def _is_hopeless(self, sample: Sample | None) -> bool:
        """The hub could not keep up: there was still much to deliver when the last message had been sent."""
        return sample is not None and (sample.faults > 0 or sample.seconds > 1.25 * self._plan.ramp_seconds)

    def steady(self) -> Figures:
        """100 messages a second from 4 speakers, evenly; then one message at a time from one to another."""
        with self._room(self._plan.members, 4) as (hub, crowd):
            sample = Traffic(crowd, hub.cpu).evenly(rate=100, seconds=self._plan.steady_seconds)
        with self._room(1, 1) as (hub, crowd):
            echo = Traffic(crowd, hub.cpu).closed_loop(window=1, seconds=self._plan.echo_seconds, warm_up=0.5)
        return {
            "p50_ms": sample.p50 * 1e3,
            "p99_ms": sample.p99 * 1e3,
            "p999_ms": sample.p999 * 1e3,
            "cpu_per_million": sample.cpu_per_million,
            "echo_p50_us": echo.p50 * 1e6,
            "steady_faults": sample.faults + echo.faults,
        }

    def tokens(self) -> Figures:
        """10 speakers stream 500 pieces of 48 bytes a second between them."""
        size = self._dialect.overhead + 48
        with self._room(self._plan.members, 10, unit_size=size, role="model") as (hub, crowd):
            turns = crowd.take_the_floor()
            dialect = crowd.dialect
            traffic = Traffic(
                crowd, hub.cpu, lambda sender, counter, at: dialect.delta(turns[sender], sender, counter, at)
            )
            sample = traffic.poisson(rate=500, seconds=self._plan.steady_seconds)
        return {
            "tokens_cpu_per_million": sample.cpu_per_million,
            "tokens_p50_ms": sample.p50 * 1e3,
            "tokens_p99_ms": sample.p99 * 1e3,
            "tokens_faults": sample.faults,
        }

    def idle(self) -> Figures:
        """Thousands of members who only sit there: what each costs in memory, and how fast they get in."""
        count = self._plan.connections
        with Started(self.name, self._cpus) as hub, Crowd(self._dialect(), hub.port) as crowd:
            crowd.seat_receivers(50, checked=False)
            crowd.settle()
            memory, begin = hub.memory(), time.monotonic()
            crowd.seat_receivers(count, checked=False)
            lasted = time.monotonic() - begin
            crowd.settle(quiet=1.0)
            return {
                "idle_kib": (hub.memory() - memory) / count / 1024,
                "joins_per_s": count / lasted,
                "base_mib": memory / 2**20,
                "idle_faults": len(crowd.gone),
            }

    def stuck(self) -> Figures:
        """One of six members never reads, while somebody sends messages of 4 KiB."""
        plan = self._plan
        with self._room(5, 1, unit_size=4096) as (hub, crowd):
            traffic = Traffic(crowd, hub.cpu)
            traffic.evenly(rate=plan.stuck_rate, seconds=plan.stuck_messages / plan.stuck_rate / 2)
            with StuckMember(crowd.dialect, hub.port) as member:
                before = peak = hub.memory()

                def watch() -> None:
                    nonlocal peak
                    member.look()
                    if member.cut_at is None or time.monotonic() < member.cut_at + 1:
                        peak = max(peak, hub.memory())

                traffic.watch = watch
                begin, had = time.monotonic(), crowd.stream.count
                sample = traffic.evenly(rate=plan.stuck_rate, seconds=plan.stuck_messages / plan.stuck_rate)
            return {
                "stuck_silence_ms": sample.silence * 1e3,
                "stuck_share": (crowd.stream.count - had) / plan.stuck_messages,
                "stuck_mib": (peak - before) / 2**20,
                "stuck_cut_s": member.cut_at - begin if member.cut_at else None,
                "stuck_p99_ms": sample.p99 * 1e3,
            }

    def frozen(self) -> Figures:
        """The hub is stopped for 3 s while everybody goes on, and has to catch up: nobody may be dropped for it."""
        pause = self._plan.frozen_seconds
        with self._room(self._plan.members, 10, unit_size=2048) as (hub, crowd):
            traffic = Traffic(crowd, hub.cpu)
            begin = time.monotonic()
            acts = [(begin + 0.5, hub.freeze), (begin + 0.5 + pause, hub.thaw)]
            traffic.watch = partial(_act, acts)
            sample = traffic.evenly(rate=400, seconds=pause + 1)
            return {"frozen_dropped": len(crowd.gone), "frozen_faults": sample.faults, "frozen_p99_s": sample.p99}


def _act(acts: list[tuple[float, Callable[[], None]]]) -> None:
    while acts and acts[0][0] <= time.monotonic():
        acts.pop(0)[1]()


def middle(rounds: list[Figures]) -> Figures:
    """The round whose first figure is the middle one, with the faults of all."""
    by = next(iter(rounds[0]))
    chosen = sorted(rounds, key=lambda one: one[by] or 0.0)[len(rounds) // 2]
    faults = {name: sum(one[name] or 0.0 for one in rounds) for name in chosen if name.endswith("_faults")}
    return chosen | faults


SCENES: Final[dict[str, Callable[[Bench], Figures]]] = {
    "a": Bench.queue_up,
    "b": Bench.knee,
    "c": Bench.steady,
    "d": Bench.tokens,
    "e": Bench.idle,
    "f": Bench.stuck,
    "g": Bench.frozen,
}
