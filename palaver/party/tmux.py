"""Processes in the panes of one tmux session, driven by the tmux program alone."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from palaver.config.masking import is_secret
from palaver.core.errors import PalaverError
from palaver.party.process import Process

LEAST: Final = (24, 5)
"""Columns and rows below which a pane tells nothing: further ones go into another window."""
NARROW: Final = 100
"""Columns below which one pane at a time is shown."""
_BORDER: Final = (
    "#{?pane_active,#[bold],} #{@palaver} "
    "#{?pane_dead,#[fg=red]ended with #{pane_dead_status}#{?pane_dead_signal, signal #{pane_dead_signal},} #[default],}"
)


class Tmux:
    """The backend `tmux`: a session `palaver-PARTY`, a pane for each process, titled by its name."""

    terminal = True

    def __init__(self, party: str, *, socket: str = "", panes: Mapping[str, str] | None = None) -> None:
        self.session = f"palaver-{party}"
        self.socket = socket
        """The server's; empty for the one that plain `tmux` talks to."""
        self.panes: dict[str, str] = dict(panes or {})
        self.size = (200, 50)
        """Columns and rows, until a terminal shows it."""
        self._in_window = 0

    def exists(self) -> bool:
        """Whether there is such a session."""
        return self._call("has-session", "-t", f"={self.session}").returncode == 0

    def start(self, process: Process, script: Path, log: Path) -> None:
        """Run a script in a pane of its own, or again in the pane that it had. Raises `PalaverError`."""
        if process.slug in self.panes:
            self._do(["respawn-pane", "-k", "-t", self.panes[process.slug], "sh", str(script)])
            return
        self.panes[process.slug] = self._pane(process, script, log)
        self.socket = self.socket or self._do(["display-message", "-p", "#{socket_path}"])

    def _pane(self, process: Process, script: Path, log: Path) -> str:
        here = f"={self.session}:"
        made = ["-P", "-F", "#{pane_id}", "sh", str(script)]
        after = [
            ["set-option", "-p", "-t", here, "@palaver", process.name],
            ["select-pane", "-t", here, "-T", _literal(process.name)],
            ["select-layout", "-t", here, "tiled"],
        ]
        if not process.console:
            keep = _literal(f"exec cat >>{shlex.quote(str(log))}").replace("%", "%%")  # a date is filled in here
            after.append(["pipe-pane", "-t", here, keep])
        if not self.panes:
            columns, rows = map(str, self.size)
            begin = ["new-session", "-d", "-s", self.session, "-n", "party", "-x", columns, "-y", rows]
            after = [*self._session_options(), *self._window_options(), *after]
        elif self._fits():
            begin = ["split-window", "-t", here]
        else:
            begin = ["new-window", "-t", here, "-n", "more"]
            after = [*self._window_options(), *after]
            self._in_window = 0
        self._in_window += 1
        return self._do([*begin, *made], *after)

    def _fits(self) -> bool:
        """Whether one more pane in this window can be read; rows and columns as tmux's `tiled` has them."""
        rows = columns = 1
        while rows * columns < self._in_window + 1:
            rows, columns = (rows + 1, columns) if rows == columns else (rows, columns + 1)
        return self.size[0] // columns >= LEAST[0] and self.size[1] // rows >= LEAST[1]

    def _session_options(self) -> list[list[str]]:
        at = ["set-option", "-t", f"={self.session}:"]
        keys = "#[dim]^B z: all panes  ^B d: leave "
        if self.size[0] >= NARROW:
            keys = "#[dim]^B arrow: other pane  ^B z: one pane, all panes  ^B [: scroll  ^B d: leave "
        return [
            [*at, "destroy-unattached", "off"],
            [*at, "status-left", f" {self.session} "],
            [*at, "status-left-length", "60"],
            [*at, "status-right", keys],
            [*at, "status-right-length", str(len(keys))],
        ]

    def _window_options(self) -> list[list[str]]:
        at = ["set-option", "-w", "-t", f"={self.session}:"]
        return [
            [*at, "remain-on-exit", "on"],
            [*at, "pane-border-status", "top"],
            [*at, "pane-border-format", _BORDER],
        ]

    def focus(self, process: Process) -> None:
        """Put the cursor into its pane; on a narrow screen that is all there is to see."""
        pane = self.panes[process.slug]
        zoom = [["resize-pane", "-Z", "-t", pane]] if self.size[0] < NARROW and len(self.panes) > 1 else []
        self._do(["select-window", "-t", pane], ["select-pane", "-t", pane], *zoom)

    def attaching(self, environ: Mapping[str, str]) -> list[str]:
        """The command that shows the session on this terminal."""
        inside = environ.get("TMUX", "").partition(",")[0]
        verb = "switch-client" if inside and inside == self.socket else "attach-session"
        return [*self._program(), verb, "-t", f"={self.session}"]

    def screen(self, process: Process) -> list[str]:
        """What its pane shows and what has scrolled away."""
        shown = self._call("capture-pane", "-p", "-J", "-S", "-", "-t", self.panes[process.slug])
        return shown.stdout.rstrip().splitlines()

    def close(self) -> None:
        """Take the session away."""
        self._call("kill-session", "-t", f"={self.session}")

    def _do(self, *commands: Sequence[str]) -> str:
        """Several tmux commands in one call; what the first one prints."""
        words: list[str] = []
        for command in commands:
            words += [
                *([";"] if words else []),
                *(f"{word[:-1]}\\;" if word.endswith(";") else word for word in command),
            ]
        done = self._call(*words)
        if done.returncode:
            raise PalaverError(f"tmux {commands[0][0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        # A server that is started by this call keeps its environment for all to see: no secrets in it.
        environment = {name: value for name, value in os.environ.items() if not is_secret((name,))}
        try:
            return subprocess.run(
                [*self._program(), *words], capture_output=True, text=True, check=False, env=environment, timeout=20
            )
        except FileNotFoundError as error:
            raise PalaverError("tmux is not installed: apt-get install tmux, or --backend procs") from error

    def _program(self) -> list[str]:
        return ["tmux", "-S", self.socket] if self.socket else ["tmux"]


def _literal(text: str) -> str:
    """Text for where tmux expands formats: `#(…)` would be run."""
    return text.replace("#", "##")
