"""From arrivals to figures, and from figures to verdicts."""

import math
import socket

import pytest
from load.crowd import Crowd, Member
from load.dialects import Dialect
from load.report import BARS, bars, table, verdicts
from load.scenarios import Figures, middle
from load.traffic import latencies, longest_silence, percentiles

MS = 1_000_000


@pytest.fixture
def crowd() -> Crowd:
    """Two receivers on a stream of three messages of 10 bytes, said at 0, 1 and 2 ms."""
    crowd = Crowd(Dialect(), 0)
    crowd.stream.ends = [10, 20, 30]
    crowd.stream.sent_at = [0, 1 * MS, 2 * MS]
    return crowd


def test_a_read_delivers_the_messages_whose_last_byte_it_brought(crowd: Crowd) -> None:
    with crowd:
        crowd.arrivals = [(4 * MS, 0, 15, 1), (5 * MS, 15, 30, 1), (7 * MS, 0, 30, 2)]
        counted = latencies(crowd)
    assert {int(took): int(counted[took]) for took in counted.nonzero()[0]} == {
        3000: 1,  # second receiver's and first receiver's third message came 5 and 3 ms after it was said
        4000: 2,
        5000: 1,
        6000: 1,
        7000: 1,
    }


def test_percentiles_are_those_of_all_deliveries(crowd: Crowd) -> None:
    with crowd:
        crowd.arrivals = [(4 * MS, 0, 10, 1), (5 * MS, 10, 20, 1), (22 * MS, 20, 30, 1)]
        assert percentiles(latencies(crowd), (0.5, 0.9, 0.99)) == (0.004, 0.02, 0.02)
        crowd.arrivals = []
        assert all(math.isnan(value) for value in percentiles(latencies(crowd), (0.5, 0.9, 0.99)))


def test_the_longest_silence_counts_from_the_first_to_the_last_moment(crowd: Crowd) -> None:
    with crowd:
        numbers = []
        for name in ("one", "other"):
            connection = socket.socket()
            numbers.append(connection.fileno())
            crowd.receivers.append(Member(name, "observer", connection))
        one, other = numbers
        crowd.arrivals = [(at * MS, 0, 1, one) for at in range(0, 100, 10)]
        crowd.arrivals += [(10 * MS, 0, 1, other), (60 * MS, 0, 1, other)]
        assert longest_silence(crowd, 0, 100 * MS) == pytest.approx(0.05)
        crowd.arrivals = [arrival for arrival in crowd.arrivals if arrival[3] == one]
        assert longest_silence(crowd, 0, 100 * MS) == pytest.approx(0.1)
        for member in crowd.receivers:
            member.connection.close()


def test_a_bar_is_met_missed_or_better_than_that() -> None:
    bar = next(bar for bar in BARS if bar.label.startswith("queued up"))
    assert [bar.verdict(value) for value in (31.0, 20.0, 19.9, math.nan, None)] == [
        "aim",
        "met",
        "MISSED",
        "MISSED",
        "MISSED",
    ]


def test_a_member_that_was_never_cut_misses_the_bar() -> None:
    cut = next(bar for bar in BARS if "cut after" in bar.label)
    assert (cut.verdict(4.9), cut.verdict(5.1), cut.verdict(None)) == ("met", "MISSED", "MISSED")


def test_only_what_was_measured_is_judged_and_shown() -> None:
    results: dict[str, Figures] = {
        "palaver": {"queue_per_cpu_s": 6e6, "queue_faults": 0},
        "broadcast": {"queue_per_cpu_s": 2e5, "queue_faults": 0},
    }
    judged = {bar.label: verdict for bar, _, verdict in verdicts(results)}
    assert judged == {
        "queued up: deliveries per CPU second / broadcast's": "aim",
        "gaps, duplicates and differences in all scenes": "met",
    }
    shown = table(results)
    assert "6,000" in shown
    assert "p99" not in shown
    assert "30.00 (>= 20, aim 30)" in bars(results)


def test_gaps_in_any_scene_miss_the_bar() -> None:
    results: dict[str, Figures] = {"palaver": {"queue_faults": 0, "knee_faults": 1}}
    assert [verdict for _, _, verdict in verdicts(results)] == ["MISSED"]


def test_of_several_rounds_the_middle_one_counts_and_the_faults_of_all() -> None:
    rounds: list[Figures] = [
        {"queue_per_cpu_s": 3e6, "queue_faults": 0, "bytes": 1},
        {"queue_per_cpu_s": 1e6, "queue_faults": 2, "bytes": 2},
        {"queue_per_cpu_s": 2e6, "queue_faults": 0, "bytes": 3},
    ]
    assert middle(rounds) == {"queue_per_cpu_s": 2e6, "queue_faults": 2, "bytes": 3}
    assert middle(rounds[:1]) == rounds[0]
