"""The benchmark of rollouts runs and tells every figure that it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROMISED = {
    "conversations",
    "turns",
    "tokens_a_reply",
    "ours_a_minute",
    "seed_a_minute",
    "ratio",
    "processor_ratio",
    "prompt_reused",
}


@pytest.mark.system
def test_the_quick_run_prints_one_line_of_json_with_all_figures() -> None:
    program = Path(__file__).parents[2] / "benchmarks" / "rollouts.py"
    command = [sys.executable, str(program), "--quick", "--json", "--threads", "1"]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=100, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    told = json.loads(run.stdout.strip().splitlines()[-1])
    figures = told["by_size"]["1M"]
    assert set(figures) >= PROMISED
    assert (figures["conversations"], figures["turns"], figures["tokens_a_reply"]) == (8, 2, 8.0)
    assert 0 < told["ratio"] == figures["ratio"] and figures["prompt_reused"] > 0.4
