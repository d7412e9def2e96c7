"""`benchmarks/scale_model.py` and `benchmarks/logs.py`, small: the plan holds together, and both run."""

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.nats_server import binary

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def model() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale_model", BENCHMARKS / "scale_model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale_model"] = module
    spec.loader.exec_module(module)
    return module


def test_the_model_runs_up_to_a_million_rooms() -> None:
    command = [sys.executable, str(BENCHMARKS / "scale_model.py"), "--seconds", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    plans = json.loads(done.stdout)
    assert [one["rooms"] for one in plans if one["spread"] == "meet"] == [1_000, 10_000, 100_000, 1_000_000]
    for meet, scatter in zip(plans[::2], plans[1::2], strict=True):
        assert meet["cells"] == scatter["cells"]
        assert meet["hubs"] <= scatter["hubs"]
        assert meet["touched"] == 1 <= scatter["touched"]
    assert plans[-2]["hubs"] > plans[2]["hubs"]
    assert all(one["core"] <= 0.5 and 0 < one["p50"] <= one["p99"] for one in plans)


def test_a_plan_keeps_its_limits(model: ModuleType) -> None:
    few = model.plan(100_000, "meet", model.Costs(), model.Load(), model.Limits(members=1_000), 1.0)
    assert few.members / few.hubs <= 1_000
    dear = model.plan(100_000, "meet", model.Costs(take=5_000.0), model.Load(), model.Limits(), 1.0)
    assert dear.core <= 0.5
    assert dear.hubs > 20


def test_what_is_too_much_queues_up(model: ModuleType) -> None:
    """A hub at 120 % of its core, and a log at 120 % of what it takes: both show."""
    costs = model.Costs(take=1_000.0)

    def p99(own: float, others: float) -> float:
        return float(model.simulated(own, 0.0, others, costs, [4], 4.0, random.Random(1))[1])

    easy = p99(300, 0)
    assert p99(1_200, 0) > 10 * easy
    assert p99(300, 6_000) > 10 * easy


def test_members_of_a_room_that_scatter_are_on_more_hubs(model: ModuleType) -> None:
    assert model.touched(1, 50, "scatter") == pytest.approx(1.0)
    assert model.touched(50, 50, "meet") == 1.0
    assert 30 < model.touched(50, 50, "scatter") < 33


@pytest.mark.system
def test_both_logs_are_measured_side_by_side() -> None:
    binary()
    command = [sys.executable, str(BENCHMARKS / "logs.py"), "--quick", "--only", "sqlite,nats", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["sqlite"]["said_per_s"] > 100
    assert figures["nats"]["move_ms"] < 2_000
    assert figures["nats"]["far_cpu_us"] > 0
