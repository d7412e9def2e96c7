"""A few seeded runs of random faults, as `benchmarks/chaos.py` plays hundreds; and that a break would be seen."""

import random
from pathlib import Path

import pytest

from palaver.core.message import Message
from tests.chaos.hubs import on_nats, on_sqlite
from tests.chaos.party import Client
from tests.chaos.proxy import FaultyProxy
from tests.chaos.run import Outcome, one_run, reckon
from tests.participants.fake_hub import message


@pytest.mark.system
@pytest.mark.parametrize("seed", [1, 4, 9])
async def test_random_faults_lose_double_and_reorder_nothing(seed: int, tmp_path: Path) -> None:
    """A2.8: cuts, frozen and late connections, doubled frames, kill -9 and SIGSTOP of the hub, five clients."""
    outcome = await one_run(seed, tmp_path, on_sqlite)
    assert outcome.broken == []
    assert outcome.acknowledged >= 36
    assert sum(outcome.faults.values()) > 14


@pytest.mark.system
@pytest.mark.parametrize("seed", [2, 5])
async def test_random_faults_of_two_hubs_and_their_broker_lose_double_and_reorder_nothing(
    seed: int, tmp_path: Path
) -> None:
    """Members move between the hubs as these die; nats-server is killed too."""
    outcome = await one_run(seed, tmp_path, on_nats, hubs=2)
    assert outcome.broken == []
    assert outcome.acknowledged >= 36


def _client(name: str, seen: list[Message], acknowledged: dict[str, int]) -> Client:
    nowhere = FaultyProxy(lambda: 1, random.Random(1))
    nowhere.url = "ws://127.0.0.1:1"
    client = Client(name, [nowhere], random.Random(1))
    client.seen, client.acknowledged = seen, acknowledged
    return client


TRUTH = [message(1, "one"), message(2, "two"), message(3, "three", "Bob")]


@pytest.mark.parametrize(
    ("truth", "seen", "acknowledged", "broken"),
    [
        (TRUTH, TRUTH, {"one": 1}, ""),
        (TRUTH, TRUTH, {"gone": 4}, "4 acknowledged, None in the log"),
        (TRUTH, TRUTH, {"one": 2}, "2 acknowledged, 1 in the log"),
        ([*TRUTH, message(4, "two")], [*TRUTH, message(4, "two")], {}, "2 times"),
        ([TRUTH[0], TRUTH[2]], [TRUTH[0], TRUTH[2]], {}, "have a gap"),
        (TRUTH, [TRUTH[1], TRUTH[0], TRUTH[2]], {}, "Ada saw"),
        (TRUTH, [TRUTH[0], TRUTH[2]], {}, "Ada saw"),
        (TRUTH, [*TRUTH, TRUTH[2]], {}, "Ada saw"),
        (TRUTH, TRUTH[:1], {}, "Ada saw"),
    ],
)
def test_the_reckoning_sees_a_broken_promise(
    truth: list[Message], seen: list[Message], acknowledged: dict[str, int], broken: str
) -> None:
    outcome = Outcome(0)
    reckon(truth, [_client("Ada", seen, acknowledged)], [], outcome)
    assert broken in " ".join(outcome.broken)
    assert bool(outcome.broken) == bool(broken)
