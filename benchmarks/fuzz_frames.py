"""A million bad frames through the decoders and a hub, some of them over real sockets: nothing may break.

Valid frames with values, fields and bytes changed, and noise. Broken is: an exception, an error in the hub's log, a
connection that is closed without a reason, a room that its log does not make again.

    python benchmarks/fuzz_frames.py [--frames 1000000] [--socket 20000] [--seed 1] [--json]
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from palaver.core.limits import Limits
from tests.chaos.frames import frames
from tests.chaos.fuzz import Findings, decode, through_hub, through_socket
from tests.hubs import running

PART = 50_000
"""Frames for one hub in the process."""


async def play(count: int, over_socket: int, seed: int, findings: Findings) -> None:
    """So many frames, each through all decoders and from a member; then others over a socket."""
    for start in range(0, count, PART):
        part = list(frames(seed + start, min(PART, count - start)))
        for raw in part:
            decode(raw, findings)
        await through_hub(part, findings)
        print(f"\r{findings.frames:,}", end="", file=sys.stderr, flush=True)
    async with running(limits=Limits(frames=0, joins=0), max_rooms=100_000) as hub:
        await through_socket(hub.url, frames(seed - 1, over_socket), findings)


def main() -> int:
    """Send, and print what came of it; 1 where anything broke."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--socket", type=int, default=20_000, help="further frames, over connections")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one line of JSON for programs")
    options = parser.parse_args()
    logging.getLogger("palaver").setLevel(logging.ERROR)
    logging.getLogger("websockets").setLevel(logging.ERROR)
    findings, started = Findings(), time.monotonic()
    asyncio.run(play(options.frames, options.socket, options.seed, findings))
    seconds = time.monotonic() - started
    print("\r" + " " * 20 + "\r", end="", file=sys.stderr)
    for problem in findings.broken[:20]:
        print(problem, file=sys.stderr)
    print(as_json(findings, seconds) if options.json else table(findings, seconds))
    return 1 if findings.broken else 0


def as_json(findings: Findings, seconds: float) -> str:
    """Everything, for programs."""
    counted = {name: dict(getattr(findings, name)) for name in ("taken", "refused", "closed")}
    return json.dumps({"frames": findings.frames, **counted, "broken": findings.broken, "seconds": round(seconds, 1)})


def table(findings: Findings, seconds: float) -> str:
    """The figures for reading."""
    lines = [f"{findings.frames:,} frames in {seconds:.0f} s: {findings.frames / seconds:,.0f} a second"]
    groups = (("taken", findings.taken), ("refused", findings.refused), ("connections ended", findings.closed))
    for title, counted in groups:
        lines.append(f"{title:<54}{sum(counted.values()):>10,}")
        lines += [f"  {name:<52}{count:>10,}" for name, count in counted.most_common(12)]
        rest = sum(count for _, count in counted.most_common()[12:])
        lines += [f"  {'otherwise':<52}{rest:>10,}"] if rest else []
    verdict = "MISSED" if findings.broken else "   met"
    lines.append(f"{verdict}  exceptions, errors, closes without a reason: {len(findings.broken)} (<= 0)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
