"""Pause means silence, measured: pauses at random instants over three kinds of client.

A local model (`tiny`), a stream from an OpenAI-compatible endpoint, and an adversary that ignores `revoke` and sends
without end. Counted: agent messages between a pause's acknowledgement and the next resume (must be 0). Measured: how
long after the revoke each client had stopped (as it says itself), and how long until the hub had heard so.

    python benchmarks/pause.py [--pauses 1000] [--json]
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from palaver.core.message import AGENTS, Message
from palaver.core.protocol import Ack, Delta, Event, FloorView, Grant, HubFrame, Join, Presence, Say, Welcome
from palaver.crew import Crew
from palaver.participants.link import Link, LinkDown
from tests.stubs.openai_stub import OpenAIStub

CLIENTS = ("Local", "Stream", "Adversary")
BAR = 0.05
"""Seconds beyond one decode step within which a local model must have stopped."""


class Watch:
    """The moderator of the benchmark: pauses, and notes what is heard when."""

    def __init__(self, url: str) -> None:
        self.link = Link(url, Join(name="Moderator", role="moderator", deltas=False))
        self.paused = False
        self.pauses = self.broken = self.heard = 0
        self.holders: tuple[str, ...] = ()
        self.stopped: dict[str, list[float]] = {name: [] for name in CLIENTS}
        self.answered: dict[str, list[float]] = {name: [] for name in CLIENTS}
        self.ready: set[str] = set()
        self._asked = 0.0
        self._changed = asyncio.Event()

    async def listen(self) -> None:
        """Take frames for ever."""
        async for frame in self.link:
            if not isinstance(frame, LinkDown):
                self._take(frame)
            self._changed.set()

    def _take(self, frame: HubFrame) -> None:
        match frame:
            case Welcome():
                self.ready |= {seat.name for seat in frame.roster if seat.state == "ready"}
            case Presence(state="ready" | "joined", ready=True):
                self.ready.add(frame.name)
            case Message() if frame.role in AGENTS:
                self.heard += 1
                self.broken += self.paused
            case FloorView():
                self.holders = tuple(holder.name for holder in frame.holders)
            case Event(kind="cancelled"):
                self.stopped[frame.actor].append(float(frame.data["latency"]))
                self.answered[frame.actor].append(time.perf_counter() - self._asked)

    async def until(self, names: set[str]) -> None:
        """Wait for everybody to be ready."""
        async with asyncio.timeout(120):
            while not names <= self.ready:
                self._changed.clear()
                await self._changed.wait()

    async def pause(self, instant: float) -> None:
        """One round: speak, wait `instant` seconds, pause, be silent for a moment, resume."""
        await self.link.say("go on, tell us more about it")
        await asyncio.sleep(instant)
        self._asked = time.perf_counter()
        answer = await self.link.command("/pause")
        assert isinstance(answer, Ack), answer
        self.paused = True
        self.pauses += 1
        await asyncio.sleep(0.12)
        self.paused = False
        await self.link.command("/resume")


async def adversary(url: str) -> None:
    """Ignores every revoke; sends with its last turn and without, text and messages, as fast as the socket takes it."""
    link = Link(url, Join(name="Adversary", role="model", deltas=False))
    turn = 0

    async def shout() -> None:
        while True:
            link.send(Delta(turn=turn, text="me "))
            link.send(Say(content="me me me", turn=turn))
            link.send(Say(content="me me me"))
            await asyncio.sleep(0.002)

    async with link:
        shouting = asyncio.create_task(shout())
        try:
            async for frame in link:
                if isinstance(frame, Grant):
                    turn = frame.turn
        finally:
            shouting.cancel()


async def measure(pauses: int, seed: int) -> Watch:
    """Run the whole and return what was seen."""
    dice = random.Random(seed)
    me = [sys.executable, "-m", "palaver"]
    with tempfile.TemporaryDirectory() as folder, OpenAIStub(["word " * 400], token_delay=0.01) as stub:
        async with Crew(Path(folder)) as crew:
            rules = ["--hop-limit", "0", "--max-frame-rate", "0", "--no-transcripts"]
            rules += ["--data-dir", f"{folder}/data", "--port", "0"]
            hub = await crew.start("hub", [*me, "server", *rules])
            url = (await crew.until_logged(hub, "ws://", 30)).split()[-1]
            seat = ["--server", url, "--history-length", "4"]
            local = ["--name", "Local", "--model", "tiny", "--threads", "1"]
            await crew.start("local", [*me, "client", *local, *seat])
            stream = ["--name", "Stream", "--api-base", stub.base_url, "--model", "stub-model"]
            key = {"OPENAI_API_KEY": "none"}
            await crew.start("stream", [*me, "client", *stream, *seat, "--max-generation-tokens", "400"], env=key)
            watch = Watch(url)
            async with watch.link:
                tasks = [asyncio.create_task(watch.listen()), asyncio.create_task(adversary(url))]
                await watch.until(set(CLIENTS))
                await watch.link.command("/policy open max_in_a_row=0")
                await watch.link.command("/alarm on=off")
                for _ in range(pauses):
                    crew.check()
                    await watch.pause(dice.random() * 0.25)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            return watch


def figures(values: list[float]) -> dict[str, float]:
    """p50, p95 and max in milliseconds."""
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {"p50": ordered[len(ordered) // 2], "p95": ordered[int(len(ordered) * 0.95)], "max": ordered[-1]}
    return {name: round(value * 1000, 2) for name, value in at.items()}


def main() -> int:
    """Print the table; exit code 1 where a word got through."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--pauses", type=int, default=1000)
    flags.add_argument("--seed", type=int, default=7)
    flags.add_argument("--json", action="store_true")
    arguments = flags.parse_args()
    watch = asyncio.run(measure(arguments.pauses, arguments.seed))
    result = {
        "pauses": watch.pauses,
        "heard": watch.heard,
        "messages_while_paused": watch.broken,
        "stopped_ms": {name: figures(values) for name, values in watch.stopped.items()},
        "answered_ms": {name: figures(values) for name, values in watch.answered.items()},
        "revokes_answered": {name: len(values) for name, values in watch.stopped.items()},
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        _table(watch)
    return 1 if watch.broken else 0


def _table(watch: Watch) -> None:
    print(f"{watch.pauses} pauses at random instants; {watch.heard} agent messages heard in between")
    print(f"agent messages after a pause and before the resume: {watch.broken}\n")
    print(f"{'client':<12}{'revokes answered':>18}   stopped after, ms (own clock)   hub told after /pause, ms")
    for name in CLIENTS:
        own, told = figures(watch.stopped[name]), figures(watch.answered[name])
        count = len(watch.stopped[name])
        columns = [" / ".join(f"{one.get(what, 0):.1f}" for what in ("p50", "p95", "max")) for one in (own, told)]
        shown = columns if count else ["never answers", "marked unresponsive"]
        print(f"{name:<12}{count:>18}   {shown[0]:<30}   {shown[1]}")


if __name__ == "__main__":
    sys.exit(main())
