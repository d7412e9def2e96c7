"""What is noted of processes, and whose it is."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palaver import crew
from palaver.cli import parties
from palaver.config.manager import ConfigManager
from palaver.core.errors import ConfigError, PalaverError
from palaver.party.party import Party
from palaver.party.process import Plan, Process
from palaver.party.procs import Procs
from palaver.party.state import Folder, Record, how_long
from tests.party.parties import until

IT = Process(name="It", slug="it", door="client", argv=("true",))


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own that is none of ours."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as process:
        yield process
        process.kill()


def party(home: Path) -> Party:
    folder = Folder(home, "p")
    folder.make()
    record = Record(
        plan=Plan(name="p", url="ws://127.0.0.1:1", room="main", processes=(IT,)), backend="procs", logs="x"
    )
    folder.keep(record)
    return Party(folder, record, Procs())


def stat_of(pid: int, began: int = 0) -> str:
    """Its line as a script notes it, begun so much later."""
    fields = Path(f"/proc/{pid}/stat").read_text().split()
    return " ".join([*fields[:21], str(int(fields[21]) + began), *fields[22:]])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_number_that_was_given_to_another_since_is_left_alone(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    ours = party(tmp_path)
    (ours.folder.path / "it.pid").write_text(stat_of(stranger.pid, began=-500))
    assert str(ours.lives()[0][1]) == "was killed"
    asyncio.run(ours.down())
    assert stranger.poll() is None
    assert not ours.folder.path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_killed_leader_left_behind_is_still_ours(tmp_path: Path) -> None:
    ours = party(tmp_path)
    with subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], start_new_session=True) as leader:
        until(lambda: len(crew.family(leader.pid)) == 3)
        (ours.folder.path / "it.pid").write_text(stat_of(leader.pid))
        leader.kill()
        leader.wait()
        assert ours.lives()[0][1].leader == leader.pid
        asyncio.run(ours.down())
        assert crew.family(leader.pid) == []


def test_two_do_not_start_one_party(tmp_path: Path) -> None:
    first, second = Folder(tmp_path, "p"), Folder(tmp_path, "p")
    first.make()
    assert first.lock()
    assert not second.lock()
    assert first.is_ours()
    first.remove()
    second.make()
    assert second.lock()
    assert second.is_ours()
    assert not first.is_ours()


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `docker run --user 1234`: `HOME` is not set, and the number has no name."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with pytest.raises(ConfigError, match="set XDG_STATE_HOME"):
        parties.home()
    assert ConfigManager(environ={}).load_config().default_model == "tiny"


def test_a_record_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "p")
    assert folder.record() is None
    folder.make()
    (folder.path / "party.json").write_text("{")
    with pytest.raises(PalaverError, match=r"party\.json cannot be read"):
        folder.record()


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (119, "119 s"), (125, "2 min"), (7500, "2 h 5 min")])
def test_times_are_told_in_words(seconds: float, said: str) -> None:
    assert how_long(seconds) == said
