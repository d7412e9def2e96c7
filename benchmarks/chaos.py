"""Random faults, run after run: is every acknowledged message in the log once, and in the same order everywhere?

Five clients talk through proxies that cut, delay, freeze, double and reorder; hubs are killed (-9), stopped and started
again. A run that breaks a promise prints its seed: `--seed N --runs 1` plays it again. The exit code is 1 then.

    python benchmarks/chaos.py [--log sqlite|nats|nats-cluster] [--hubs 2] [--runs 200] [--seed 1]
        [--at-once 3] [--json]
"""

import argparse
import asyncio
import dataclasses
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.chaos.hubs import Networks, on_nats, on_nats_cluster, on_sqlite
from tests.chaos.run import Outcome, one_run

LOGS: dict[str, tuple[Networks, int]] = {
    "sqlite": (on_sqlite, 1),
    "nats": (on_nats, 2),
    "nats-cluster": (on_nats_cluster, 2),
}
"""Logs by name, and how many hubs they are played with."""


async def play(seeds: list[int], networks: Networks, hubs: int, at_once: int) -> list[Outcome]:
    """Every run, so many at a time."""
    free = asyncio.Semaphore(at_once)

    async def one(seed: int) -> Outcome:
        async with free:
            with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
                outcome = await one_run(seed, Path(folder), networks, hubs)
        for problem in outcome.broken:
            print(f"seed {seed}: {problem}", file=sys.stderr)
        print(f"\r{seed}", end="", file=sys.stderr, flush=True)
        return outcome

    return list(await asyncio.gather(*(one(seed) for seed in seeds)))


def main() -> int:
    """Play the runs, print what came of them; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each has the next (default: 1)")
    parser.add_argument("--log", choices=list(LOGS), default="sqlite")
    parser.add_argument("--hubs", type=int, help="default: what suits the log")
    parser.add_argument("--at-once", type=int, default=3, help="runs at the same time (default: 3)")
    parser.add_argument("--json", action="store_true", help="one line of JSON for programs")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    networks, hubs = LOGS[options.log]
    hubs = options.hubs or hubs
    started = time.monotonic()
    seeds = list(range(options.seed, options.seed + options.runs))
    outcomes = asyncio.run(play(seeds, networks, hubs, options.at_once))
    figures = summed(outcomes)
    figures["seconds"] = round(time.monotonic() - started, 1)
    print("\r" + " " * 20 + "\r", end="", file=sys.stderr)
    print(json.dumps(figures) if options.json else table(figures, options.log, hubs))
    return 1 if figures["broken seeds"] else 0


def summed(outcomes: list[Outcome]) -> dict[str, object]:
    """All runs together."""
    faults: Counter[str] = Counter()
    for outcome in outcomes:
        faults += outcome.faults
    figures: dict[str, object] = {
        "runs": len(outcomes),
        "faults": dict(faults.most_common()),
        "connections": sum(outcome.reconnects for outcome in outcomes),
        "messages in the logs": sum(outcome.said for outcome in outcomes),
        "acknowledged": sum(outcome.acknowledged for outcome in outcomes),
    }
    for kind in ("lost", "doubled", "differences"):
        figures[kind] = sum(len(dataclasses.asdict(outcome)[kind]) for outcome in outcomes)
    figures["broken seeds"] = [outcome.seed for outcome in outcomes if outcome.broken]
    return figures


def table(figures: dict[str, object], log: str, hubs: int) -> str:
    """The figures for reading."""
    lines = [f"{hubs} hub{'s' * (hubs > 1)} on {log}, 5 clients"]
    for name, value in figures.items():
        if isinstance(value, dict):
            lines += [f"  {kind:<34}{count:>10,}" for kind, count in value.items()]
        elif isinstance(value, list):
            lines.append(f"{name:<36}{', '.join(map(str, value)) or 'none':>10}")
        else:
            lines.append(f"{name:<36}{value:>10,}")
    held = not figures["broken seeds"]
    lines.append(f"{'   met' if held else 'MISSED'}  acknowledged messages lost, doubled or in another order: 0")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
