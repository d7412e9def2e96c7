"""Who says what when: a closed loop that keeps windows full, and an open loop that keeps to a timetable."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from load.crowd import Crowd

LONGEST_US = 10_000_000
"""Latencies are counted in microseconds up to this one."""


@dataclass(frozen=True)
class Sample:
    """What one stretch of traffic came to."""

    seconds: float
    messages: int
    """Delivered to the receivers that were furthest ahead, within `seconds`."""
    receivers: int
    cpu: float
    """CPU seconds of the hub."""
    wrong: int
    """Gaps, duplicates, and receivers whose bytes were not everybody's."""
    missing: int
    """Messages that had not come when waiting ended, receivers that had not got all, and members that were dropped."""
    p50: float
    p99: float
    p999: float
    """Delivery latency over all receivers, in seconds."""
    silence: float
    """The longest time, in seconds, in which a receiver got nothing while messages were being sent."""
    late: float
    """Share of the messages that the generator itself sent more than 5 ms after their time."""

    @property
    def faults(self) -> int:
        """All that must be 0 of a hub that keeps its promises."""
        return self.wrong + self.missing

    @property
    def deliveries(self) -> int:
        return self.messages * self.receivers

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.deliveries / self.seconds

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds of the hub for a million deliveries."""
        return self.cpu / self.deliveries * 1e6 if self.deliveries else float("nan")

    @property
    def per_cpu_second(self) -> float:
        """Deliveries for a CPU second of the hub."""
        return self.deliveries / self.cpu if self.cpu else float("nan")


Say = Callable[[int, int, int], bytes]
"""Makes the frame for (sender, counter, time in ns)."""


def _nothing() -> None:
    pass


class Traffic:
    """Lets the speakers of a crowd speak, and measures what becomes of it."""

    def __init__(self, crowd: Crowd, cpu_of_hub: Callable[[], float], say: Say | None = None) -> None:
        self.crowd = crowd
        self.watch: Callable[[], None] = _nothing
        """Called between two sends of a timetable."""
        self._cpu = cpu_of_hub
        self._say = say or crowd.dialect.message
        self._said = [0] * len(crowd.speakers)

    @property
    def sent(self) -> int:
        return sum(self._said)

    def _speak(self, sender: int, times: list[int]) -> None:
        first = self._said[sender]
        frames = [self._say(sender, first + number, at) for number, at in enumerate(times)]
        self._said[sender] += len(times)
        self.crowd.speakers[sender].send(b"".join(frames))

    # --- closed loop -----------------------------------------------------------------------------------------------

    def closed_loop(self, *, window: int, seconds: float, warm_up: float = 1.0) -> Sample:
        """Every speaker always has `window` messages under way: a new one for each that has been delivered."""
        now = time.monotonic_ns()
        for sender in range(len(self.crowd.speakers)):
            self._speak(sender, [now] * window)
        self._refill_until(time.monotonic() + warm_up)
        self.crowd.arrivals.clear()
        cpu, begin, count = self._cpu(), time.monotonic(), self.crowd.stream.count
        self._refill_until(begin + seconds)
        cpu, lasted, count = self._cpu() - cpu, time.monotonic() - begin, self.crowd.stream.count - count
        arrivals = len(self.crowd.arrivals)
        self.crowd.drain(self.sent)
        del self.crowd.arrivals[arrivals:]
        return self._sample(lasted, count, cpu, silence=float("nan"), late=0.0)

    def _refill_until(self, deadline: float) -> None:
        stream = self.crowd.stream
        while time.monotonic() < deadline:
            if not self.crowd.pump(time.monotonic() + 3):
                return
            if stream.arrived:
                now = time.monotonic_ns()
                for sender, free in Counter(stream.arrived).items():
                    self._speak(sender, [now] * free)
                stream.arrived.clear()
            self.crowd.flush()
            self.crowd.trim()

    # --- open loop -------------------------------------------------------------------------------------------------

    def poisson(self, *, rate: float, seconds: float, seed: int = 1) -> Sample:
        """Messages at random times, `rate` a second over all speakers, each dated with the time it was due."""
        chance = np.random.default_rng(seed)
        gaps = chance.exponential(1e9 / rate, int(rate * seconds))
        senders = chance.integers(0, len(self.crowd.speakers), len(gaps))
        return self.timetable(np.cumsum(gaps).astype(np.int64), senders.tolist())

    def evenly(self, *, rate: float, seconds: float) -> Sample:
        """Messages at even distances, the speakers in turn."""
        due = (np.arange(int(rate * seconds)) * (1e9 / rate)).astype(np.int64)
        return self.timetable(due, [number % len(self.crowd.speakers) for number in range(len(due))])

    def timetable(self, due: NDArray[np.int64], senders: list[int]) -> Sample:
        """Sends each message when it is due (ns from now), whatever the hub does, and waits until all have come."""
        cpu, begin, count = self._cpu(), time.monotonic_ns(), self.crowd.stream.count
        late = self._keep_to((due + begin).tolist(), senders)
        silence = longest_silence(self.crowd, begin, time.monotonic_ns())
        self.crowd.drain(self.sent)
        cpu, count = self._cpu() - cpu, self.crowd.stream.count - count
        lasted = (time.monotonic_ns() - begin) / 1e9
        return self._sample(lasted, count, cpu, silence=silence, late=late / max(1, len(due)))

    def _keep_to(self, due: list[int], senders: list[int]) -> int:
        late = position = 0
        crowd = self.crowd
        while position < len(due):
            now = time.monotonic_ns()
            batches: dict[int, list[int]] = {}
            while position < len(due) and due[position] <= now:
                batches.setdefault(senders[position], []).append(due[position])
                late += now - due[position] > 5_000_000
                position += 1
            for sender, times in batches.items():
                self._speak(sender, times)
            crowd.flush()
            crowd.trim()
            self.watch()
            if position < len(due):
                crowd.pump(due[position] / 1e9)
        return late

    # --- what came of it -------------------------------------------------------------------------------------------

    def _sample(self, seconds: float, messages: int, cpu: float, *, silence: float, late: float) -> Sample:
        crowd, stream = self.crowd, self.crowd.stream
        diverged = crowd.diverged()
        wrong = stream.gaps + stream.duplicates + diverged
        missing = self.sent - stream.count + crowd.behind() - diverged + len(crowd.gone)
        p50, p99, p999 = percentiles(latencies(crowd), (0.5, 0.99, 0.999))
        crowd.arrivals.clear()
        if not wrong + missing:
            stream.forget_times()
        return Sample(seconds, messages, len(crowd.receivers), cpu, wrong, missing, p50, p99, p999, silence, late)


def latencies(crowd: Crowd) -> NDArray[np.int64]:
    """How many deliveries took so many microseconds, over all receivers and everything since the last forgetting."""
    ends = np.array(crowd.stream.ends, dtype=np.int64)
    sent_at = np.array(crowd.stream.sent_at, dtype=np.int64)
    histogram = np.zeros(LONGEST_US + 1, dtype=np.int64)
    for part in _slices(np.array(crowd.arrivals, dtype=np.int64).reshape(-1, 4)):
        first = np.searchsorted(ends, part[:, 1], side="right")
        counts = np.searchsorted(ends, part[:, 2], side="right") - first
        skipped = np.cumsum(counts) - counts
        message = np.arange(int(counts.sum())) + np.repeat(first - skipped, counts)
        took = (np.repeat(part[:, 0], counts) - sent_at[message]) // 1000
        histogram += np.bincount(np.clip(took, 0, LONGEST_US), minlength=LONGEST_US + 1)
    return histogram


def longest_silence(crowd: Crowd, begin: int, end: int) -> float:
    """The longest time between two reads of any one receiver, from `begin` to `end` (ns), in seconds."""
    arrivals = np.array(crowd.arrivals, dtype=np.int64).reshape(-1, 4)
    longest = 0
    for member in crowd.receivers:
        times = arrivals[arrivals[:, 3] == member.connection.fileno(), 0]
        longest = max(longest, int(np.diff(times, prepend=begin, append=end).max()))
    return longest / 1e9


def _slices(arrivals: NDArray[np.int64], size: int = 50_000) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(arrivals), size):
        yield arrivals[start : start + size]


def percentiles(histogram: NDArray[np.int64], shares: tuple[float, float, float]) -> tuple[float, float, float]:
    """The latencies, in seconds, that the given shares of all deliveries stayed below; nan where there were none."""
    total = np.cumsum(histogram)
    if not total[-1]:
        return (float("nan"),) * 3
    low, middle, high = (int(np.searchsorted(total, share * total[-1])) / 1e6 for share in shares)
    return low, middle, high
