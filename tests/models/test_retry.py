"""When a failed request is sent again."""

import pytest

from palaver.models.model import LLMResponse
from palaver.models.retry import Fault, RetryPolicy, fault_of, fault_of_status, retry_after_seconds


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_waits_never_shrink_whatever_the_jitter(chance: float) -> None:
    policy = RetryPolicy(attempts=10, first_wait=0.5, longest_wait=30)
    lucky = [policy.wait(failures, None, 0.999) or 0 for failures in range(1, 6)]
    waits = [policy.wait(failures, None, chance) or 0 for failures in range(1, 10)]
    assert waits == sorted(waits)
    assert all(later >= before / 2 for before, later in zip(lucky, waits[1:], strict=False))
    assert max(waits) <= 30


def test_an_endpoint_that_names_its_time_is_given_it() -> None:
    assert (RetryPolicy().wait(1, 7.0, 0.0) or 0) >= 7.0


def test_the_last_attempt_is_the_last_and_too_long_a_wait_is_none() -> None:
    assert RetryPolicy(attempts=3).wait(3, None, 0.0) is None
    assert RetryPolicy(longest_retry_after=120).wait(1, 3600.0, 0.0) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, now=60.0) == seconds


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        *[(status, Fault.PASSING) for status in (0, 408, 429, 500, 503)],
        *[(status, Fault.MODEL) for status in (401, 403, 404)],
        *[(status, Fault.REQUEST) for status in (400, 413, 422)],
    ],
)
def test_a_status_tells_whose_fault_it_is(status: int, fault: Fault) -> None:
    assert fault_of_status(status) is fault
    failed = LLMResponse("", 0, 0.0, "m", False, "x", provenance={"status": status})
    assert fault_of(failed) is fault


def test_a_backend_without_status_leaves_the_fault_open() -> None:
    assert fault_of(LLMResponse("", 0, 0.0, "m", False, "out of memory")) is Fault.UNKNOWN
