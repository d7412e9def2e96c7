"""The engine's benchmark runs and tells every figure that it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROMISED = {
    "ttft_ratio_20",
    "ttft_ratio_100",
    "reply_ratio_100",
    "identical_greedy",
    "weights_copies",
    "batch_ratio_3",
    "rollout_ratio_16",
    "cancel_ms_p95",
    "decode_step_ms",
    "loop_lag_ms_p99",
}


@pytest.mark.system
def test_the_quick_run_prints_one_line_of_json_with_all_figures() -> None:
    program = Path(__file__).parents[2] / "benchmarks" / "engine.py"
    command = [sys.executable, str(program), "--quick", "--json", "--threads", "1", "--gpu", ""]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=100, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    figures = json.loads(run.stdout.strip().splitlines()[-1])
    assert set(figures) >= PROMISED
    assert figures["identical_greedy"] is True and figures["weights_copies"] == 1
    assert figures["ttft_ratio_100"] > 1 and figures["cancel_ms_p95"] > 0
