"""Hubs side by side: what a delivery costs, how many there can be, and who suffers when somebody does not read.

    python benchmarks/fanout.py [--quick] [--only a,c] [--hubs palaver,broadcast] [--json]

`docs/benchmarks.md` says what each figure means.
"""

import argparse
import atexit
import gc
import json
import os
import resource
import sys
import time
from pathlib import Path

from load.process import USUAL, cores, installed
from load.report import Results, bars, table, verdicts
from load.scenarios import QUICK, SCENES, Bench, Figures, Plan, middle

PRIORITY = -19
"""Niceness of hub and generator where it may be set: figures of a shared machine are noise otherwise."""
AUTOGROUP = Path("/proc/self/autogroup")
"""Where the kernel shares cores between terminal sessions, niceness counts only within one; this is the session's."""


def main() -> int:
    """Plays the chosen scenes on the chosen hubs and prints what came of it."""
    options = parse(sys.argv[1:])
    hub_cores = prepare()
    begin, busy, own = time.monotonic(), busy_seconds(), own_seconds()
    results = measure(options, hub_cores)
    lasted = time.monotonic() - begin
    others = max(0.0, (busy_seconds() - busy) - (own_seconds() - own)) / lasted / (os.cpu_count() or 1)
    if options.json:
        print(json.dumps(as_json(results, others, lasted)))
        return 0
    print(table(results))
    print(f"\n{bars(results)}\n" if verdicts(results) else "")
    print(f"{lasted:.0f} s; other processes used {others:.0%} of the machine meanwhile")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options, with lists split and checked."""
    usual = [name for name in USUAL if name in installed()]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it works, measures nothing")
    parser.add_argument("--only", default=",".join(SCENES), help=f"scenes, of {','.join(SCENES)} (default: all)")
    parser.add_argument(
        "--hubs", default=",".join(usual), help=f"hubs, of {','.join(installed())} (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    options = parser.parse_args(arguments)
    options.only, options.hubs = options.only.split(","), options.hubs.split(",")
    for chosen, known in ((options.only, list(SCENES)), (options.hubs, installed())):
        if unknown := [name for name in chosen if name not in known]:
            parser.error(f"{unknown[0]!r} is unknown or not installed; known: {', '.join(known)}")
    return options


def prepare() -> set[int]:
    """Gives the generator its core and enough descriptors; returns the hub's cores."""
    hub_cores, generator_cores = cores()
    os.sched_setaffinity(0, generator_cores)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
        if AUTOGROUP.exists():
            AUTOGROUP.write_text(str(PRIORITY))
            atexit.register(AUTOGROUP.write_text, "0")
    except OSError:
        print(f"niceness {PRIORITY} is not allowed here: other processes will disturb the figures", file=sys.stderr)
    gc.disable()
    return hub_cores


def measure(options: argparse.Namespace, hub_cores: set[int]) -> Results:
    """Scene by scene, so that what is compared lies close together in time."""
    plan = QUICK if options.quick else Plan()
    results: Results = {name: {} for name in options.hubs}
    for scene in options.only:
        rounds: dict[str, list[Figures]] = {name: [] for name in options.hubs}
        for _ in range(plan.rounds if scene == "a" else 1):
            for name in options.hubs:
                print(f"\r{scene} {name:<12}", end="", file=sys.stderr, flush=True)
                rounds[name].append(SCENES[scene](Bench(name, plan, hub_cores)))
                gc.collect()
        for name in options.hubs:
            results[name] |= middle(rounds[name])
    print("\r" + " " * 20 + "\r", end="", file=sys.stderr)
    return results


def busy_seconds() -> float:
    """What all cores have worked, or were kept from working by the host, since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """What this process and the hubs that have ended have worked."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def as_json(results: Results, others: float, lasted: float) -> dict[str, object]:
    """Everything, for programs."""
    judged = [
        {"bar": bar.label.strip(), "value": value, "verdict": verdict} for bar, value, verdict in verdicts(results)
    ]
    return {"hubs": results, "bars": judged, "others": round(others, 3), "seconds": round(lasted, 1)}


if __name__ == "__main__":
    sys.exit(main())
