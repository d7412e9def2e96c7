"""Parties in tmux, on a screen as a person sees it."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.party.parties import Home, until
from tests.processes import ROOT

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def tmux() -> None:
    """Skip where tmux is missing; in CI that is an error."""
    if shutil.which("tmux") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs a terminal: apt-get install tmux")


class Terminal:
    """A terminal of its own, in which somebody types `palaver …`; the party's tmux does not know this one."""

    def __init__(self, home: Home, columns: int, rows: int) -> None:
        self._home = home
        size = ["-x", str(columns), "-y", str(rows)]
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(home.folder), "env -u TMUX sh")

    def _tmux(self, *words: str) -> str:
        environ = {**self._home.environ, "PS1": "$ ", "LC_ALL": "C.UTF-8"}
        command = ["tmux", "-L", "outer", *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=20).stdout

    def type(self, line: str) -> None:
        """A line and Enter."""
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def keys(self, *keys: str) -> None:
        """Keys by tmux's names."""
        self._tmux("send-keys", *keys)

    def screen(self) -> str:
        """What stands on it."""
        return "\n".join(row.rstrip() for row in self._tmux("capture-pane", "-p").rstrip().splitlines())

    def shows(self, *texts: str, seconds: float = 90) -> str:
        """The screen, as soon as it shows all of these."""
        screen = ""

        def is_so() -> bool:
            nonlocal screen
            screen = self.screen()
            return all(text in screen for text in texts)

        try:
            until(is_so, seconds)
        except AssertionError:
            raise AssertionError(f"no {texts} on\n{screen}") from None
        return screen


@contextlib.contextmanager
def terminal(home: Home, columns: int, rows: int) -> Iterator[Terminal]:
    """A terminal while the block lasts."""
    outer = Terminal(home, columns, rows)
    try:
        yield outer
    finally:
        outer._tmux("kill-server")


def inner(home: Home, *words: str) -> str:
    """The party's own tmux."""
    return subprocess.run(["tmux", *words], env=home.environ, capture_output=True, text=True, check=False).stdout


def test_the_debate_comes_up_in_panes_people_talk_and_down_leaves_no_process(home: Home) -> None:
    """The example as it stands, on the tiny model: one pane each, titled, the moderator's focused and attached."""
    home.environ["PALAVER_PORT"] = "0"
    home.environ["PALAVER_TOKEN"] = "tok-5f1e"
    with terminal(home, 200, 50) as outer:
        outer.type(f"{sys.executable} -m palaver up {ROOT / 'examples/debate.yaml'} --backend tmux")
        outer.shows("of 4 ready · ")
        screen = outer.shows(
            "── hub ", "── Philosopher ", "── Scientist ", "── Historian ", "── Moderator ", "Launcher left"
        )
        assert "palaver-debate" in screen.splitlines()[-1]
        outer.type("What is tea?")
        outer.shows(" Philosopher: ", " Scientist: ", " Historian: ")
        outer.type("/pause")
        outer.shows("PAUSED")
        shown = inner(home, "show-environment", "-g") + inner(home, "show-environment", "-t", "palaver-debate")
        assert "PATH=" in shown
        assert "tok-5f1e" not in shown + inner(home, "list-panes", "-a", "-F", "#{pane_start_command}")
        outer.keys("C-b", "d")
        outer.shows("palaver attach debate")
        rows = home.status()
        assert all("  runs  " in row and "pane %" in row for row in rows.values())
        assert rows["Philosopher"].endswith("  ready")
        outer.type(f"{sys.executable} -m palaver down")
        outer.shows("party debate is down; no process is left behind")
    until(lambda: not home.living(), 5)
    assert not inner(home, "list-sessions")


def test_a_dead_pane_says_how_it_ended_and_restart_brings_it_back(home: Home) -> None:
    text = "name: t\nserver: {port: 0, data_dir: data, no_transcripts: true}\n"
    name = "50% #(touch owned) [x]"
    text += f"clients: [{{name: '{name}', backend: scripted, model: ada.txt}}]\nmoderator: true\n"
    up = home.palaver("up", home.write(text), "--backend", "tmux")
    assert up.returncode == 0, up.stdout
    titles = inner(home, "list-panes", "-t", "palaver-t", "-F", "#{pane_title}|#{@palaver}")
    assert f"{name}|{name}" in titles
    home.named(name).kill()
    until(lambda: "ended with 137" in home.status()[name])
    until(lambda: "1" in inner(home, "list-panes", "-t", "palaver-t", "-F", "#{pane_dead}").split())
    assert home.palaver("restart", name).returncode == 0
    until(lambda: home.status()[name].endswith("ready"))
    assert "joined 'main'" in home.palaver("logs", name).stdout
    assert "room main, you are Moderator" in home.palaver("logs", "moderator").stdout
    inner(home, "kill-session", "-t", "palaver-t")
    gone = home.palaver("restart", name)
    assert (gone.returncode, gone.stderr) == (1, "error: its tmux session is gone: palaver down t, then up again\n")
    assert home.palaver("down").returncode == 0
    assert home.living() == []
    assert not (home.folder / "owned").exists()


def test_on_a_narrow_terminal_the_moderator_has_all_of_it_and_the_others_are_a_key_away(home: Home) -> None:
    text = "name: t\nserver: {port: 0, data_dir: data, no_transcripts: true}\n"
    text += "clients: [{name: Ada, backend: scripted, model: ada.txt}]\nmoderator: true\n"
    home.write(text)
    with terminal(home, 60, 20) as outer:
        outer.type(f"{sys.executable} -m palaver up party.yaml --backend tmux")
        screen = outer.shows("── Moderator ", "floor free")
        assert "── Ada " not in screen
        outer.keys("C-b", "z")
        outer.shows("── hub ", "── Ada ", "── Moderator ")
    assert home.palaver("down").returncode == 0
    assert home.living() == []
