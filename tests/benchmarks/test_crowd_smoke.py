"""`benchmarks/crowd.py` from end to end, with few: it runs, and it sees what is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CROWD = Path(__file__).resolve().parents[2] / "benchmarks" / "crowd.py"


@pytest.mark.system
def test_idle_members_and_busy_rooms_lose_nothing() -> None:
    few = ("--idle", "60", "--rooms", "5", "--members", "2", "--seconds", "0.5", "--hubs", "palaver")
    done = subprocess.run([sys.executable, str(CROWD), *few, "--json"], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["palaver"]
    assert (figures["missing"], figures["dropped"]) == (0, 0)
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] < 2000
    assert figures["idle_kib"] > 1
