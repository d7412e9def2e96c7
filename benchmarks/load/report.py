"""The figures as one table, and the bars that Palaver's hub is held to."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from load.scenarios import Figures

Results = dict[str, Figures]
"""Figures by hub."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    scene: str
    figure: str
    label: str
    scale: float = 1.0
    digits: int = 0


ROWS: Final = (
    Row("a", "queue_per_cpu_s", "queued up: deliveries per CPU second, thousands", 1e-3),
    Row("a", "queue_per_s", "  deliveries/s, thousands", 1e-3),
    Row("a", "queue_faults", "  gaps, duplicates, differences"),
    Row("a", "bytes", "  bytes a delivery"),
    Row("b", "knee_per_s", "highest rate with p99 < 25 ms: deliveries/s, thousands", 1e-3),
    Row("b", "knee_p99_ms", "  p99 there, ms", digits=1),
    Row("b", "knee_faults", "  gaps, duplicates, differences"),
    Row("b", "knee_missing", "  still missing 20 s after the next rate"),
    Row("b", "knee_late", "  sent late by the generator at the next rate, %", 100, 1),
    Row("c", "p50_ms", "100 messages/s: delivery p50, ms", digits=2),
    Row("c", "p99_ms", "  p99, ms", digits=2),
    Row("c", "p999_ms", "  p99.9, ms", digits=2),
    Row("c", "cpu_per_million", "  CPU-s per million deliveries", digits=2),
    Row("c", "echo_p50_us", "  one message at a time: p50, us"),
    Row("c", "steady_faults", "  gaps, duplicates, differences"),
    Row("d", "tokens_cpu_per_million", "500 tokens/s: CPU-s per million deliveries", digits=2),
    Row("d", "tokens_p50_ms", "  p50, ms", digits=2),
    Row("d", "tokens_p99_ms", "  p99, ms", digits=2),
    Row("d", "tokens_faults", "  gaps, duplicates, differences"),
    Row("e", "idle_kib", "idle connections: KiB each", digits=1),
    Row("e", "joins_per_s", "  connections/s"),
    Row("e", "base_mib", "  MiB with 50 connections", digits=1),
    Row("e", "idle_faults", "  dropped"),
    Row("f", "stuck_silence_ms", "one never reads: longest silence of others, ms"),
    Row("f", "stuck_share", "  messages that the others got, %", 100),
    Row("f", "stuck_mib", "  memory growth, MiB", digits=1),
    Row("f", "stuck_cut_s", "  cut after, s", digits=1),
    Row("g", "frozen_dropped", "hub stopped for 3 s: members dropped"),
    Row("g", "frozen_faults", "  gaps, duplicates, differences"),
    Row("g", "frozen_p99_s", "  p99, s", digits=1),
)


@dataclass(frozen=True)
class Bar:
    """What Palaver's hub must reach, and what it aims for; both as limits of one value."""

    label: str
    value: Callable[[Results], float | None]
    limit: float
    aim: float | None = None
    at_least: bool = False

    def verdict(self, value: float | None) -> str:
        """`aim`, `met` or `MISSED`."""
        if self._holds(value, self.limit):
            return "aim" if self.aim is not None and self._holds(value, self.aim) else "met"
        return "MISSED"

    def _holds(self, value: float | None, limit: float) -> bool:
        if value is None or math.isnan(value):
            return False
        return value >= limit if self.at_least else value <= limit


def own(figure: str) -> Callable[[Results], float | None]:
    """A figure of Palaver's."""
    return lambda results: results["palaver"][figure]


def ratio(figure: str, other: str) -> Callable[[Results], float | None]:
    """Palaver's figure in multiples of another hub's."""

    def value(results: Results) -> float | None:
        mine, theirs = results["palaver"][figure], results[other][figure]
        return mine / theirs if mine is not None and theirs else None

    return value


def _faults(results: Results) -> float:
    return sum(value or 0 for figure, value in results["palaver"].items() if figure.endswith("_faults"))


BARS: Final = (
    Bar("queued up: deliveries per CPU second / broadcast's", ratio("queue_per_cpu_s", "broadcast"), 20, 30, True),
    Bar("  / NATS's", ratio("queue_per_cpu_s", "nats"), 1, at_least=True),
    Bar("highest rate / seed's", ratio("knee_per_s", "seed"), 20, 50, True),
    Bar("  deliveries/s", own("knee_per_s"), 4e6, at_least=True),
    Bar("  messages still missing 20 s after the next rate", own("knee_missing"), 0),
    Bar("100 messages/s: p50 / broadcast's", ratio("p50_ms", "broadcast"), 2.5),
    Bar("  p99, ms", own("p99_ms"), 0.8),
    Bar("  p99.9, ms", own("p999_ms"), 4),
    Bar("  one message at a time, us", own("echo_p50_us"), 85),
    Bar("500 tokens/s: CPU / broadcast's", ratio("tokens_cpu_per_million", "broadcast"), 0.25),
    Bar("  CPU-s per million deliveries", own("tokens_cpu_per_million"), 0.8),
    Bar("idle connection, KiB", own("idle_kib"), 16, 12),
    Bar("connections/s", own("joins_per_s"), 6000, at_least=True),
    Bar("one never reads: longest silence of others, ms", own("stuck_silence_ms"), 50),
    Bar("  memory growth, MiB", own("stuck_mib"), 2),
    Bar("  cut after, s", own("stuck_cut_s"), 5),
    Bar("hub stopped for 3 s: members dropped", own("frozen_dropped"), 0),
    Bar("gaps, duplicates and differences in all scenes", _faults, 0),
)


def verdicts(results: Results) -> list[tuple[Bar, float | None, str]]:
    """Every bar for which the figures were taken, with what was reached."""
    judged = []
    for bar in BARS:
        try:
            value = bar.value(results)
        except KeyError:  # that scene or that hub was not run
            continue
        judged.append((bar, value, bar.verdict(value)))
    return judged


def table(results: Results) -> str:
    """Figures by row, hubs by column."""
    names = list(results)
    lines = [" " * 58 + "".join(f"{name:>12}" for name in names)]
    for row in ROWS:
        if any(row.figure in results[name] for name in names):
            cells = (_cell(results[name], row) for name in names)
            lines.append(f"{row.scene} {row.label:<56}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _cell(figures: Figures, row: Row) -> str:
    value = figures.get(row.figure, math.nan)
    if value is None:
        return "never"
    if math.isnan(value):
        return "-"
    open_end = ">=" if row.figure == "knee_per_s" and figures.get("knee_open") else ""
    return f"{open_end}{value * row.scale:,.{row.digits}f}"


def bars(results: Results) -> str:
    """One line for each bar that can be judged."""
    lines = []
    for bar, value, verdict in verdicts(results):
        sign = ">=" if bar.at_least else "<="
        aim = "" if bar.aim is None else f", aim {bar.aim:g}"
        reached = "never" if value is None else f"{value:,.2f}"
        lines.append(f"{verdict:>6}  {bar.label}: {reached} ({sign} {bar.limit:g}{aim})")
    return "\n".join(lines)
