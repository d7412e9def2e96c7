"""How requests that go wrong are answered: each with a text that says what, and never with what was sent."""

import logging
from collections.abc import AsyncIterator

import pytest

from palaver.api.door import MOST_BODY
from tests.api.talks import serving

JSON = {"Content-Type": "application/json"}


async def test_a_method_that_a_path_does_not_know_is_told_with_those_that_it_does() -> None:
    async with serving() as server:
        listed = await server.client.put("/conversations")
        health = await server.client.head("/health")
    assert (listed.status_code, listed.headers["Allow"]) == (405, "GET, POST")
    assert listed.json() == {"detail": "/conversations knows GET, POST, not PUT"}
    assert (health.status_code, health.headers["Allow"]) == (405, "GET")


async def test_a_page_that_there_is_none_of_tells_where_to_look() -> None:
    async with serving() as server:
        answer = await server.client.get("/")
    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no /; /docs tells what there is")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"agent_configs": [{"name": "A"}], "max_turns": NaN}', "Input should be a finite number"),
        ('{"agent_configs": [{"name": "A"}], "max_turns": 1e999}', "Input should be a finite number"),
        ('{"agent_configs": [{"name": "A", "goal": "\\ud800"}]}', "unable to parse raw data as a unicode string"),
        ('{"agent_configs": [{"name": "A", "\\ud800": 1}]}', "Input should be a valid"),
        ('{"agent_configs": [{"name": "A"}, {"name": "a"}]}', "two agents are called 'a'"),
        ('{"agent_configs": [{"name": "A"}], "relationship": 9}', "Input should be less than or equal to 5"),
        ('{"agent_configs": ', "is no JSON from character 18 on: Expecting value"),
        ("[1]", "must be a JSON object"),
        ("", "must be a JSON object"),
    ],
)
async def test_a_body_of_the_wrong_form_is_422_and_not_sent_back(body: str, told: str) -> None:
    """Neither what JSON cannot say again nor somebody's secret."""
    async with serving() as server:
        answer = await server.client.post("/conversations", content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    problems = answer.json()["detail"]
    assert any(told in problem["msg"] for problem in problems), problems
    assert all(problem.keys() == {"type", "loc", "msg"} for problem in problems)
    assert not any("(" in str(problem["loc"]) or "-" in str(problem["loc"]) for problem in problems), problems


async def test_json_that_is_not_called_json_is_told_how_to_send_it() -> None:
    """As curl sends it by itself."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with serving() as server:
        answer = await server.client.post("/conversations", content='{"agent_configs": []}', headers=form)
    assert "sent with the header 'Content-Type: application/json'" in answer.json()["detail"][0]["msg"]


async def test_a_body_beyond_all_measure_is_413_before_it_is_read() -> None:
    async def without_end() -> AsyncIterator[bytes]:
        for _ in range(MOST_BODY // 2**16 + 1):
            yield b" " * 2**16

    async with serving() as server:
        answer = await server.client.post("/conversations", content=without_end(), headers=JSON)
    assert (answer.status_code, answer.json()["detail"]) == (413, f"the body has more than {MOST_BODY} bytes")


async def test_asking_how_the_server_is_warns_of_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A probe shows no token, every few seconds."""
    with caplog.at_level(logging.WARNING, "palaver.api"):
        async with serving(token="open sesame") as server:
            assert (await server.client.get("/health")).status_code == 200
            counted = server.service.metrics.text()
    assert "palaver_denied_total{" not in counted
    assert not caplog.records


async def test_what_the_server_is_made_of_is_not_told_where_only_this_machine_is_served() -> None:
    """A page that gives its own name this machine's address is told no more than a probe (DNS rebinding)."""
    async with serving(local_only=True) as server:
        ours = await server.client.get("/health")
        foreign = await server.client.get("/health", headers={"Host": "evil.example"})
    assert (foreign.status_code, foreign.json()["server_config"]) == (200, {})
    assert ours.json()["server_config"]["models"] == ["tiny"]


async def test_the_document_says_what_each_field_may_be() -> None:
    """For whoever has nothing else."""
    async with serving() as server:
        schemas = (await server.client.get("/openapi.json")).json()["components"]["schemas"]
    fields = schemas["ConversationRequest"]["properties"]
    bounds = fields["max_turns"]["anyOf"][0]
    assert (bounds["minimum"], bounds["maximum"]) == (1, 1000)
    assert fields["background"]["description"] == "False: the answer comes when the conversation is over."
