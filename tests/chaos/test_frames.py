"""Tens of thousands of bad frames: no exception, no close without a reason, and a log that can be read again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaver.core.limits import Limits
from tests.chaos.frames import SEEDS, frames
from tests.chaos.fuzz import Findings, decode, reason_of, through_hub, through_socket
from tests.hubs import running


def test_every_decoder_takes_a_frame_or_says_what_does_not_fit() -> None:
    """A2.11: 30,000 frames; `benchmarks/fuzz_frames.py` sends a million."""
    findings = Findings()
    for raw in frames(7, 30_000):
        decode(raw, findings)
    assert findings.broken == []
    assert 15_000 < sum(findings.refused.values()) < 25_000
    assert all(findings.refused)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.sampled_from(SEEDS)))
def test_no_bytes_at_all_break_a_decoder(raw: bytes) -> None:
    findings = Findings()
    decode(raw, findings)
    assert findings.broken == []


@pytest.mark.system
async def test_a_hub_takes_or_refuses_every_frame_and_its_log_makes_the_same_rooms_again() -> None:
    findings = Findings()
    await through_hub(frames(8, 12_000), findings)
    assert findings.broken == []
    assert len(findings.taken) >= 8


@pytest.mark.system
async def test_over_a_socket_no_connection_ends_without_a_reason() -> None:
    findings = Findings()
    async with running(limits=Limits(frames=0, joins=0)) as hub:
        await through_socket(hub.url, frames(9, 1500), findings)
    assert findings.broken == []
    assert findings.closed["BAD_FRAME"] > 10


def test_refusals_are_counted_by_what_is_the_same_in_them() -> None:
    text = "frame does not fit the protocol: Expected `int` <= 9007199254740992 - at `$.turn`"
    assert reason_of(text) == "Expected"
