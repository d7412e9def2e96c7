"""`benchmarks/fanout.py` from end to end, with tiny numbers: it runs, and it sees what happens."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FANOUT = Path(__file__).resolve().parents[2] / "benchmarks" / "fanout.py"


def fanout(*options: str) -> str:
    done = subprocess.run([sys.executable, str(FANOUT), *options], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.system
def test_two_hubs_are_measured_side_by_side_without_a_gap() -> None:
    printed: dict[str, Any] = json.loads(fanout("--quick", "--hubs", "broadcast,seed", "--only", "a,c,e,g", "--json"))
    assert list(printed["hubs"]) == ["broadcast", "seed"]
    for figures in printed["hubs"].values():
        assert figures["queue_per_s"] > 1000
        assert 0 < figures["p50_ms"] < 1000
        assert figures["idle_kib"] > 1
        assert [figures[name] for name in ("queue_faults", "steady_faults", "frozen_faults", "frozen_dropped")] == [
            0
        ] * 4


@pytest.mark.system
def test_palaver_is_measured_against_the_broadcast_hub_and_loses_nothing() -> None:
    printed: dict[str, Any] = json.loads(fanout("--quick", "--hubs", "palaver,broadcast", "--only", "a,d", "--json"))
    faults = next(bar for bar in printed["bars"] if bar["bar"].startswith("gaps"))
    assert faults["verdict"] == "met"
    assert {bar["verdict"] for bar in printed["bars"]} <= {"aim", "met", "MISSED"}


@pytest.mark.system
def test_the_table_has_a_column_for_each_hub() -> None:
    lines = fanout("--quick", "--hubs", "broadcast", "--only", "a").splitlines()
    assert lines[0].split() == ["broadcast"]
    assert any(line.startswith("a queued up") for line in lines)


def test_an_unknown_hub_is_named() -> None:
    done = subprocess.run(
        [sys.executable, str(FANOUT), "--hubs", "carrier"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "'carrier' is unknown or not installed; known: palaver, broadcast, seed" in done.stderr
