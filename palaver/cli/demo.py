"""`palaver demo`: hub, two models and a simulated user as processes on this machine; no key, no card, no download."""

import argparse
import asyncio
import importlib.util
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from palaver.cli.common import Parser, make, run_async
from palaver.cli.numbers import amount, port, whole
from palaver.core.errors import MissingExtra
from palaver.core.message import AGENTS, Message
from palaver.core.policies import POLICIES
from palaver.core.protocol import Ack, Event, FloorView, HubFrame, Join, Nack, Presence, System, Welcome
from palaver.crew import Crew, Process, ProcessFailed
from palaver.models import tiny
from palaver.participants.console.clean import clean
from palaver.participants.link import Link, LinkDown

SAGE: Final = "Zen Sage"
INVENTOR: Final = "TinkerBot"
USER: Final = "Curious User"
_SERVE: Final = "from transformers.cli.transformers import main; main()"
_NEEDED: Final = {
    "torch": "hf",
    "transformers": "hf",
    "openai": "openai",
    "aiohttp": "openai",
    "fastapi": "api",
    "uvicorn": "api",
}
"""Packages of the models and of `transformers serve`, and the extras that bring them."""
SILENCE: Final = 2.0
"""Seconds for which the demo listens while the room is paused."""
QUIET: Final = 5.0
"""Seconds with nobody speaking after which the demo's moderator asks again: models may choose silence, `tiny` at times
does."""
HALT: Final = 300.0
"""Seconds without a message after which the demo has failed."""


def parser() -> argparse.ArgumentParser:
    """The flags of the demo."""
    flags = Parser(prog="palaver demo", description=__doc__)
    flags.add_argument(
        "--turns", type=whole(1), metavar="N", help="without a moderator: end after N messages (12 if no TTY)"
    )
    flags.add_argument("--model", default="tiny", help="what speaks for both models; any Hugging Face name")
    flags.add_argument("--topic", default="tea", help="what the moderator asks them to talk about")
    flags.add_argument("--policy", choices=list(POLICIES), default="round_robin", help="floor policy of the room")
    flags.add_argument("--delay", type=amount, default=1.0, metavar="SECONDS", help="pause before each reply")
    flags.add_argument("--port", type=port, default=0, help="the hub's port; 0 takes a free one")
    flags.add_argument(
        "--folder", type=Path, help="where log, transcripts and the processes' output go (default: logs/demo-TIME)"
    )
    return flags


def main(argv: Sequence[str]) -> int:
    """Run the demo; exit code 0 when it went as it should."""
    return run_async(_demo(parser().parse_args(argv)))


async def _demo(arguments: argparse.Namespace) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    _need_all()
    folder = arguments.folder or Path("logs") / time.strftime("demo-%Y%m%d-%H%M%S")
    interactive = arguments.turns is None and sys.stdin.isatty() and sys.stdout.isatty()
    make(folder, "--folder")
    _introduce(arguments, folder)
    try:
        async with Crew(folder) as crew:
            url = await _start(crew, arguments, folder)
            if interactive:
                code = await _moderate(url)
                print(_transcript(folder))
                return code
            return await _Script(url, arguments.topic, arguments.turns or 12, folder).run(crew)
    except asyncio.CancelledError:
        print("\nstopped; no process is left behind")
        return 0


def _need_all() -> None:
    """Raise `MissingExtra` for all at once that its processes would miss, each in turn."""
    missing = {package: extra for package, extra in _NEEDED.items() if importlib.util.find_spec(package) is None}
    if missing:
        raise MissingExtra(", ".join(missing), ",".join(dict.fromkeys(missing.values())))


def _transcript(folder: Path) -> str:
    return f"transcript: {folder / 'main.jsonl'} and {folder / 'main.md'}"


def _introduce(arguments: argparse.Namespace, folder: Path) -> None:
    print(f"Palaver demo. {SAGE} and {INVENTOR} are `client.py --model {arguments.model}`,")
    print(f"each in a process of its own; {USER} is `user_sim.py` against an")
    print("OpenAI-compatible endpoint on this machine.")
    if arguments.model == "tiny":
        print("The model `tiny` comes with Palaver: a million parameters, trained on a toy")
        print("grammar. It shows how things work, not what models can say. For a real one:")
        print("--model microsoft/phi-2 (or any other of Hugging Face).")
    print(f"Everything is written below {folder}/\n", flush=True)


async def _start(crew: Crew, arguments: argparse.Namespace, folder: Path) -> str:
    """Start all processes; returns the hub's URL once everybody is in the room."""
    me = [sys.executable, "-m", "palaver"]
    turns = arguments.turns or 12
    rules = ["--policy", arguments.policy, "--hop-limit", str(max(40, turns * 2))]
    where = ["--port", str(arguments.port), "--data-dir", str(folder / "data"), "--transcripts", str(folder)]
    hub = await crew.start("hub", [*me, "server", *where, *rules])
    endpoint, endpoint_url = await _start_endpoint(crew)
    url = (await crew.until_logged(hub, "ws://", 30)).split()[-1]
    print(f"hub         {url}", flush=True)
    seats = ["--server", url, "--delay", str(arguments.delay)]
    for name, prompt in ((SAGE, "sage.txt"), (INVENTOR, "inventor.txt")):
        speaks = ["--name", name, "--model", arguments.model, "--prompt-file", prompt, "--threads", "1"]
        await crew.start(name, [*me, "client", *speaks, *seats])
    print("models      are being loaded: some seconds, longer where one is downloaded", flush=True)
    await crew.until_logged(endpoint, "startup complete", 120)
    print(f"endpoint    {endpoint_url} (transformers serve)", flush=True)
    user = [
        "--name",
        USER,
        "--api-base",
        endpoint_url,
        "--model",
        str(tiny.path()),
        "--prompt-file",
        "curious_user.txt",
        "--first-message",
        f"Hello! {SAGE}, what do you think about {arguments.topic}?",
    ]
    await crew.start(USER, [*me, "user-sim", *user, *seats, "--max-turns", "0"], env={"OPENAI_API_KEY": "none"})
    return url


async def _start_endpoint(crew: Crew) -> tuple[Process, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _SERVE, "serve", str(tiny.path())]
    flags = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--log-level", "info"]
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return await crew.start("endpoint", [*command, *flags], env=offline), f"http://127.0.0.1:{port}/v1"


async def _moderate(url: str) -> int:
    """The console, in a process of its own on this terminal."""
    print("\nThe console opens: type to everybody, /pause, /resume, /help, /quit.\n", flush=True)
    console = await asyncio.create_subprocess_exec(sys.executable, "-m", "palaver", "moderator", "--server", url)
    return await console.wait()


class _Script:
    """What the demo's moderator does where nobody sits at a terminal: opens, listens, pauses, resumes, ends."""

    def __init__(self, url: str, topic: str, turns: int, folder: Path) -> None:
        self._link = Link(url, Join(name="Moderator", role="moderator", deltas=False))
        self._topic, self._turns, self._folder = topic, turns, folder
        self._said: dict[str, int] = {}
        self._paused_at = 0.0
        self._broken = 0
        self._is_taken = False
        """Whether somebody has the floor."""
        self._ready: set[str] = set()
        self._changed = asyncio.Event()

    async def run(self, crew: Crew) -> int:
        """Steer the conversation to its end; returns the exit code."""
        started = time.monotonic()
        async with self._link:
            listening = asyncio.create_task(self._listen())
            try:
                await self._until(lambda: {SAGE, INVENTOR, USER} <= self._ready, 300, crew)
                await self._link.say(f"Welcome. Let us talk about {self._topic}.")
                await self._hear(self._turns // 2, crew)
                await self._pause()
                await self._hear(self._turns, crew)
                await self._command("/end that was the demo")
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
        self._summary(time.monotonic() - started)
        return 1 if self._broken else 0

    async def _listen(self) -> None:
        async for frame in self._link:
            if not isinstance(frame, LinkDown):
                self._take(frame)
            self._changed.set()

    def _take(self, frame: HubFrame) -> None:
        match frame:
            case Welcome():
                for seat in frame.roster:
                    if seat.state == "ready":
                        self._is_ready(seat.name)
            case FloorView():
                self._is_taken = bool(frame.holders)
            case Presence(state="ready" | "joined", ready=True):
                self._is_ready(frame.name)
            case Message():
                print(f"{frame.seq:>4}  {frame.sender}: {clean(frame.content)}", flush=True)
                if frame.role in AGENTS:
                    self._said[frame.sender] = self._said.get(frame.sender, 0) + 1
                    self._broken += bool(self._paused_at)
            case System():
                print(f"      * {clean(frame.content)}", flush=True)
            case Event(kind="cancelled"):
                print(f"      * {frame.actor} stopped generating in {frame.data['latency'] * 1000:.0f} ms", flush=True)

    def _is_ready(self, name: str) -> None:
        if name in (SAGE, INVENTOR, USER) and name not in self._ready:
            self._ready.add(name)
            print(f"ready       {name}", flush=True)

    async def _hear(self, count: int, crew: Crew) -> None:
        """Wait until the agents have said so many messages; where all chose silence, ask one of them."""
        quiet = 0
        while (heard := sum(self._said.values())) < count:
            try:
                await self._until(partial(self._have_said, heard + 1), QUIET, crew)
                quiet = 0
            except ProcessFailed:
                crew.check()
                quiet += 1
                if quiet * QUIET >= HALT:
                    raise
                if not self._is_taken:
                    await self._link.say(f"{(SAGE, INVENTOR)[quiet % 2]}, what do you think about {self._topic}?")

    def _have_said(self, count: int) -> bool:
        return sum(self._said.values()) >= count

    async def _until(self, true: Callable[[], bool], seconds: float, crew: Crew) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not true():
                    self._changed.clear()
                    crew.check()
                    try:
                        async with asyncio.timeout(1):
                            await self._changed.wait()
                    except TimeoutError:
                        continue
        except TimeoutError:
            raise ProcessFailed(f"the conversation came to a halt; see the files in {self._folder}") from None

    async def _pause(self) -> None:
        await self._command("/pause")
        self._paused_at = time.monotonic()
        await asyncio.sleep(SILENCE)
        heard = "not a word" if not self._broken else f"{self._broken} messages (that is a defect)"
        print(f"      * paused for {SILENCE:.0f} s: {heard}", flush=True)
        self._paused_at = 0.0
        await self._command("/resume")

    async def _command(self, text: str) -> None:
        answer = await self._link.command(text)
        said = (
            answer.text if isinstance(answer, Ack) else f"refused: {answer.reason}" if isinstance(answer, Nack) else ""
        )
        print(f"      > {text}: {said}", flush=True)

    def _summary(self, seconds: float) -> None:
        total = sum(self._said.values())
        shares = ", ".join(f"{name} {count}" for name, count in sorted(self._said.items()))
        print(f"\n{total} messages in {seconds:.0f} s: {shares}; while paused: {self._broken}")
        print(_transcript(self._folder), flush=True)
