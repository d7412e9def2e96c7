"""Processes without a terminal, that outlive whoever starts them; their output goes to files."""

import os
from pathlib import Path

from palaver.party.process import Process


class Procs:
    """The backend `procs`."""

    terminal = False
    socket = ""

    def __init__(self) -> None:
        self.panes: dict[str, str] = {}

    def start(self, process: Process, script: Path, log: Path) -> None:
        """Run a script in a session of its own."""
        output = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        os.posix_spawn("/bin/sh", ["sh", str(script)], environment, file_actions=output, setsid=True)

    def close(self) -> None:
        """Nothing is kept."""
