"""A hub as a process of its own, on a core of its own: started, watched through /proc, stopped."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Self

from load.dialects import Dialect, Nats, Palaver, SendLoop

HERE: Final = Path(__file__).resolve().parents[1]
TICKS: Final = os.sysconf("SC_CLK_TCK")


def cores() -> tuple[set[int], set[int]]:
    """The hub's cores and the generator's: one each where there are two."""
    free = sorted(os.sched_getaffinity(0))
    return ({free[0]}, {free[1]}) if len(free) > 1 else ({free[0]}, {free[0]})


class Hub:
    """A running hub. Its state is read from /proc, so nothing is asked of it while it is measured."""

    def __init__(self, command: list[str], directory: Path, cpus: set[int], port: int | None = None) -> None:
        self._output = directory / "output.txt"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                preexec_fn=lambda: os.sched_setaffinity(0, cpus),
            )
        try:
            self.port = self._wait_until_it_listens(port)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_it_listens(self, port: int | None) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            said = re.search(r"ws://127\.0\.0\.1:(\d+)", self.output())
            found = port or (int(said[1]) if said else None)
            if found and self._answers(found):
                return found
            time.sleep(0.02)
        raise RuntimeError(f"hub {self._process.args!r} does not listen:\n{self.output()[-2000:]}")

    @staticmethod
    def _answers(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(errors="replace")

    def cpu(self) -> float:
        """CPU seconds so far, user and system, all threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def freeze(self) -> None:
        """SIGSTOP: what a debugger, a snapshot or a laptop's lid does to a process."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


Starter = Callable[[Path, set[int]], Hub]


def _script(*arguments: str) -> Starter:
    return lambda directory, cpus: Hub([sys.executable, *arguments], directory, cpus)


def _palaver(directory: Path, cpus: set[int]) -> Hub:
    command = [sys.executable, str(HERE.parent / "server.py"), "--host", "127.0.0.1", "--port", "0"]
    command += ["--data-dir", str(directory / "data"), "--transcripts", str(directory / "transcripts")]
    command += ["--max-frame-rate", "0"]  # the speakers are floods
    command += ["--max-frame-rate", "0", "--max-unjoined", "0"]  # the generator stands for many, and floods on purpose
    return Hub(command, directory, cpus)


def _nats(directory: Path, cpus: set[int]) -> Hub:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "nats.conf"
    config.write_text(f'host: 127.0.0.1\nport: -1\nwebsocket {{ host: "127.0.0.1", port: {port}, no_tls: true }}\n')
    return Hub([nats_server() or "nats-server", "-c", str(config)], directory, cpus, port)


def nats_server() -> str | None:
    """The nats-server that is installed beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server")


class Contestant(NamedTuple):
    """A hub that can be measured: how it is spoken to and started, and where its files lie (None: the usual place)."""

    dialect: type[Dialect]
    start: Starter
    place: str | None = None


HUBS: Final[dict[str, Contestant]] = {
    "palaver": Contestant(Palaver, _palaver),
    "broadcast": Contestant(Dialect, _script(str(HERE / "hubs" / "broadcast.py"))),
    "seed": Contestant(SendLoop, _script(str(HERE / "hubs" / "send_loop.py"))),
    "nats": Contestant(Nats, _nats),
    "palaver-ram": Contestant(Palaver, _palaver, "/dev/shm"),
}
USUAL: Final = ("palaver", "broadcast", "seed", "nats")


def installed() -> list[str]:
    """The hubs that can be started here."""
    return [name for name in HUBS if name != "nats" or nats_server()]


class Started:
    """A fresh hub with a fresh directory: `with Started("palaver", cpus) as hub`."""

    def __init__(self, name: str, cpus: set[int]) -> None:
        self._contestant, self._cpus = HUBS[name], cpus

    def __enter__(self) -> Hub:
        place = self._contestant.place
        self._directory = tempfile.TemporaryDirectory(prefix="fanout-", dir=place, ignore_cleanup_errors=True)
        try:
            self._hub = self._contestant.start(Path(self._directory.name), self._cpus)
        except BaseException:
            self._directory.cleanup()
            raise
        return self._hub

    def __exit__(self, *_: object) -> None:
        self._hub.stop()
        self._directory.cleanup()
