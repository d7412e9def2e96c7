"""`python moderator.py` as a user runs it: on pipes, against a real hub."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palaver.cli import moderator
from tests.patience import within

ROOT = Path(__file__).parents[2]
DEBATE = "phases:\n  - {name: opening, speakers: [Ada, Bob], turns: 2}\n"


@contextlib.contextmanager
def running(*arguments: str, cwd: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """One of the doors, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / arguments[0]), *arguments[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.startswith("PALAVER_")},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """The URL of a hub."""
    with running("server.py", "--port", "0", "--data-dir", str(tmp_path / "data"), cwd=tmp_path) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.split()[-1]


def moderate(url: str, script: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """What the moderator's console makes of a script on its stdin."""
    command = [sys.executable, "moderator.py", "--server", url, *flags]
    return subprocess.run(command, input=script, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


@pytest.mark.system
def test_a_piped_script_is_carried_out_line_by_line_and_answered_a2_6(hub: str) -> None:
    done = moderate(hub, "hello\n\n# a note to myself\n/pause\n/status\n//slash\n/resume\n/who")
    rows = [row for row in done.stdout.splitlines() if " -- " not in row]
    assert (done.returncode, done.stderr) == (0, "")
    told = [row.split(" ", 1)[1] for row in rows]
    assert told[0] == "#1 Moderator: hello"
    assert told[1] == "=> paused"
    assert told[2].startswith("=> PAUSED, epoch")
    assert "#2 Moderator: /slash" in told
    assert "=> resumed" in told
    assert rows[-2:] == ["=> 1 in room main", "     Moderator  moderator, ready (console)"]


@pytest.mark.system
def test_a_refused_line_goes_to_stderr_and_makes_the_exit_code_one(hub: str) -> None:
    done = moderate(hub, "/xyzzy\n/kick Nobody\nhello\n")
    assert done.returncode == 1
    assert "/xyzzy is unknown; nothing was sent" in done.stderr
    assert "refused: name 'Nobody' is not here" in done.stderr
    assert "#1 Moderator: hello" in done.stdout
    assert "xyzzy" not in done.stdout


@pytest.mark.system
def test_a_script_file_is_carried_out_and_left_at_its_end(hub: str, tmp_path: Path) -> None:
    (tmp_path / "evening.txt").write_text("/topic bridges\n/quit\nnever said\n")
    (tmp_path / "debate.yaml").write_text(DEBATE)
    done = moderate(hub, "", "--script", str(tmp_path / "evening.txt"))
    assert done.returncode == 0
    assert "=> topic: bridges" in done.stdout
    assert "never said" not in done.stdout
    done = moderate(hub, f"/policy debate file={tmp_path}/debate.yaml\n/policy\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"speakers":["Ada","Bob"]' in done.stdout
    assert moderate(hub, "", "--script", str(tmp_path / "missing.txt")).returncode == 2


@pytest.mark.system
@pytest.mark.parametrize("piped", [True, False])
def test_a_script_may_begin_with_a_byte_order_mark(hub: str, tmp_path: Path, *, piped: bool) -> None:
    script = "\ufeff/topic tea\r\n/topic\r\n"
    (tmp_path / "script.txt").write_text(script, encoding="utf-8", newline="")
    done = moderate(hub, script) if piped else moderate(hub, "", "--script", str(tmp_path / "script.txt"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("=> topic: tea") == 2


@pytest.mark.system
def test_a_script_begins_once_it_has_what_was_said_before(hub: str, tmp_path: Path) -> None:
    assert moderate(hub, "\n".join(f"line {number}" for number in range(1, 41))).returncode == 0
    for number in range(3):
        done = moderate(hub, f"/save {tmp_path}/{number}.jsonl\n")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(f"=> 40 messages saved in {tmp_path}/{number}.jsonl\n")


@pytest.mark.system
@pytest.mark.parametrize("end", ["\n", ""])
def test_a_line_that_is_too_long_is_refused_whatever_its_length(hub: str, end: str) -> None:
    done = moderate(hub, "x" * 3_000_000 + end)
    assert done.returncode == 1
    assert done.stderr.startswith("!! a message of 1")
    assert done.stderr.endswith("characters is too long; a hub takes 65536\n")


@pytest.mark.system
def test_rooms_can_be_listed_and_switched_to(hub: str) -> None:
    done = moderate(hub, "/switch lobby\nhello there\n/rooms\n")
    assert done.returncode == 0
    assert "room lobby, you are Moderator" in done.stdout
    assert "#1 Moderator: hello there" in done.stdout
    assert " *lobby  1 here, 1 messages" in done.stdout


@pytest.mark.system
def test_hidden_messages_still_show_notices_and_two_moderators_sit_together_a2_17(hub: str) -> None:
    with running("moderator.py", "--server", hub, "--name", "Eve", "--hide-messages") as eve:
        assert eve.stdout is not None
        assert "you are Eve" in eve.stdout.readline()
        assert moderate(hub, "hello\n/pause\n").returncode == 0
        heard = [eve.stdout.readline() for _ in range(3)]
        assert [row.split(" ", 1)[1].strip() for row in heard] == [
            "-- Moderator joined (moderator, 2 here)",
            "-- Moderator: paused",
            "-- Moderator left: left the console",
        ]


@pytest.mark.system
def test_a_name_that_is_taken_is_refused_with_the_reason_a2_7(hub: str) -> None:
    with running("moderator.py", "--server", hub) as first:
        assert first.stdout is not None
        first.stdout.readline()
        done = moderate(hub, "hello\n", "--name", "MODERATOR")
        assert done.returncode == 1
        assert "already taken" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_with_zero_and_says_goodbye_a2_17(hub: str, number: signal.Signals) -> None:
    with (
        running("moderator.py", "--server", hub, "--name", "Eve") as eve,
        running("moderator.py", "--server", hub) as me,
    ):
        assert me.stdout is not None
        assert eve.stdout is not None
        me.stdout.readline()
        eve.stdout.readline()
        eve.send_signal(number)
        _, errors = eve.communicate(timeout=20)
        assert (eve.returncode, errors) == (0, "")
        assert any("Eve left" in me.stdout.readline() for _ in range(2))


@pytest.mark.system
def test_without_a_hub_a_script_ends_within_seconds_and_says_why_a2_8() -> None:
    began = time.monotonic()
    done = moderate("ws://127.0.0.1:1", "hello\n")
    assert done.returncode == 1
    assert time.monotonic() - began < 15
    assert "error: no seat within 5 s: no hub at ws://127.0.0.1:1" in done.stderr


@pytest.mark.system
def test_not_a_byte_is_lost_on_a_slow_pipe_or_in_a_file(hub: str, tmp_path: Path) -> None:
    script = "/help\n" * 300
    with running("moderator.py", "--server", hub, "--console", "plain") as slow:
        assert slow.stdin is not None
        assert slow.stdout is not None
        slow.stdin.write(script)
        slow.stdin.close()
        text = ""
        while piece := slow.stdout.read(8192):
            text += piece
        assert slow.wait(timeout=20) == 0
    (tmp_path / "script").write_text(script)
    with (tmp_path / "script").open() as lines, (tmp_path / "out").open("w") as out:
        command = [sys.executable, "moderator.py", "--server", hub]
        assert subprocess.run(command, stdin=lines, stdout=out, cwd=ROOT, timeout=60, check=False).returncode == 0
    for told in (text, (tmp_path / "out").read_text()):
        assert told.count("=> commands") == told.count("/quit  ") == told.count("Ctrl-D leaves") == 300


@pytest.mark.system
def test_a_reader_that_goes_away_is_no_error(hub: str) -> None:
    command = f"yes /help | head -500 | {sys.executable} moderator.py --server {hub} | head -3"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert len(done.stdout.splitlines()) == 3
    assert "Traceback" not in done.stderr
    assert done.stderr == ""


@pytest.mark.system
def test_a_full_disk_and_a_closed_input_are_told_in_one_line(hub: str) -> None:
    command = f"{sys.executable} moderator.py --server {hub}"
    full = subprocess.run(
        ["sh", "-c", f"echo /help | {command} > /dev/full"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (full.returncode, full.stderr) == (1, "error: the output cannot be written: No space left on device\n")
    closed = subprocess.run(["sh", "-c", f"{command} <&-"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (closed.returncode, closed.stderr) == (0, "")


@pytest.mark.system
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_not_taken_for_a_socket(hub: str, closed: str) -> None:
    """It aborted the process: uvloop closes no socket under the number of a standard stream."""
    command = f"echo hello | {sys.executable} moderator.py --server {hub} {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.system
def test_bytes_that_are_no_text_are_said_as_such_also_where_the_output_is_a_file(hub: str, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(
            [sys.executable, "moderator.py", "--server", hub],
            cwd=ROOT,
            input=b"caf\xe9\n",
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "caf\ufffd" in (tmp_path / "out").read_text()


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--console", "rich"], "needs a terminal"),
        (["--name", "system"], "reserved"),
        (["--name", " "], "--name"),
        (["--server", "nonsense"], "nonsense"),
        (["--log-level", "LOUD"], "invalid choice"),
    ],
)
@pytest.mark.system
def test_flags_that_will_not_do_are_refused_by_name(flags: list[str], problem: str) -> None:
    done = moderate("ws://127.0.0.1:1", "hello\n", *flags)
    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.system
def test_help_is_quick_and_loads_no_model_library_a2_19() -> None:
    took = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "moderator.py", "--help"], cwd=ROOT, capture_output=True, check=True)
        took.append(time.monotonic() - began)
    assert min(took) < within(0.5)  # 0.13 s
    code = "import palaver.cli.moderator as m, sys; m.parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "openai", "prompt_toolkit", "aioconsole"} & set(done.stdout.split())


@pytest.mark.system
def test_the_whole_console_loads_no_model_library_a2_19() -> None:
    code = "import palaver.participants.console.terminal, palaver.participants.console.plain, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "openai", "palaver.hub"} & set(done.stdout.split())


def test_the_flags_have_the_defaults_that_are_promised() -> None:
    arguments = moderator.parser().parse_args([])
    assert (arguments.name, arguments.log_level, arguments.room, arguments.proxy) == (
        "Moderator",
        "WARNING",
        "main",
        None,
    )
    assert (arguments.console, arguments.hide_messages, arguments.script) == ("auto", False, None)
