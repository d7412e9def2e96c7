"""Who may call, and how often."""

import pytest

from palaver.api.access import Access, RateLimit
from palaver.api.errors import TooMany, Unauthorized
from palaver.hub.auth import SharedSecret, is_loopback
from tests.api.talks import serving

BODY = {"agent_configs": [{"name": "A"}]}


async def test_a_token_opens_everything_but_health() -> None:
    async with serving(token="open sesame") as server:
        client = server.client
        health = await client.get("/health")
        assert (health.status_code, health.json()["server_config"]) == (200, {})
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic open sesame"}):
            for path in ("/models", "/models/tiny", "/config", "/conversations", "/conversations/x"):
                answer = await client.get(path, headers=headers)
                assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), path
            assert (await client.post("/conversations", json=BODY, headers=headers)).status_code == 401
        right = {"Authorization": "Bearer open sesame"}
        assert (await client.get("/models", headers=right)).status_code == 200
        assert (await client.post("/conversations", json=BODY, headers=right)).status_code == 201


async def test_only_the_moderators_token_steers_where_there_is_one() -> None:
    async with serving(token="t", moderator_token="m", headers={"Authorization": "Bearer t"}) as server:
        ident = await server.begin()
        assert (await server.client.delete(f"/conversations/{ident}")).status_code == 401
        command = await server.client.post(f"/conversations/{ident}/commands", json={"text": "/pause"})
        assert (command.status_code, command.json()["detail"].split(":")[0]) == (
            401,
            "the token is wrong for a moderator",
        )


async def test_pages_of_other_origins_are_not_let_in_unless_listed() -> None:
    asking = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    async with serving() as server:
        answer = await server.client.options("/conversations", headers=asking)
        assert "access-control-allow-origin" not in answer.headers
    async with serving(cors_origins=["https://elsewhere.example"]) as server:
        answer = await server.client.options("/conversations", headers=asking)
        assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"


async def test_more_than_the_rate_is_429_and_health_is_not_counted() -> None:
    async with serving(limit=RateLimit(2, 60)) as server:
        answers = [await server.client.get("/models") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
        assert (await server.client.get("/health")).status_code == 200


def test_a_rate_is_a_sliding_window_for_each_client() -> None:
    now = 0.0
    limit = RateLimit(2, 10, clock=lambda: now)
    limit.take("a")
    now = 6.0
    limit.take("a")
    limit.take("b")
    with pytest.raises(TooMany) as refused:
        limit.take("a")
    assert refused.value.retry_after == 4.0
    now = 10.0
    limit.take("a")


def test_a_server_without_a_token_serves_its_own_machine_only() -> None:
    access = Access(SharedSecret(), local_only=True)
    access.admit_from("127.0.0.1", "localhost")
    with pytest.raises(Unauthorized, match="PALAVER_TOKEN"):
        access.admit_from("192.0.2.7", "localhost")


async def test_a_page_that_gives_its_name_this_machines_address_is_not_served() -> None:
    async with serving(local_only=True) as server:
        assert (await server.client.get("/models")).status_code == 200
        assert (await server.client.get("/models", headers={"Host": "evil.example:8000"})).status_code == 401


def test_addresses_of_this_machine_are_known() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "192.0.2.1", "", "example.org", "::ffff:192.0.2.1")))
