"""`benchmarks/restart.py` with a small room: the room that comes back is the one that was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RESTART = Path(__file__).resolve().parents[2] / "benchmarks" / "restart.py"


@pytest.mark.system
def test_a_room_comes_back_the_same_from_its_log_and_from_its_snapshot() -> None:
    command = [sys.executable, str(RESTART), "--entries", "3000", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    for figures in json.loads(done.stdout).values():
        assert figures["replayed_per_s"] > 500
        assert figures["snapshot_s"] < 2
