"""What web pages and callers over HTTP may: tokens and their roles, the pages of a hub, streams that end."""

import asyncio
import http.client
import json
import time

import pytest

from palaver.api.access import RateLimit
from palaver.api.service import HubSettings, ServiceSettings
from palaver.core.message import Role
from palaver.hub.tokens import SignedTokens, auth_of
from tests.api.talks import Server, serving
from tests.hubs import joined, running
from tests.patience import within

SECRET = "0123456789abcdef0123456789abcdef"
TOKENS = SignedTokens(SECRET)
SETTINGS = ServiceSettings(hub=HubSettings(secret=SECRET))
PEOPLE = {"agent_configs": [{"name": "Alice", "type": "human"}, {"name": "Bob"}]}


def bearing(role: Role, *rooms: str, lasting: float = 60) -> dict[str, str]:
    """The header with a token of that role for these rooms."""
    return {"Authorization": f"Bearer {TOKENS.issue(role, rooms=rooms, lasting=lasting)}"}


async def _begun(server: Server) -> str:
    answer = await server.client.post("/conversations", json=PEOPLE, headers=bearing("moderator"))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["conversation_id"])


async def test_over_http_a_moderator_steers_and_the_other_roles_read() -> None:
    async with serving(settings=SETTINGS) as server:
        ident = await _begun(server)
        for role in ("observer", "model", "user_sim"):
            headers = bearing(role)
            for path in ("/models", "/config", "/conversations", f"/conversations/{ident}"):
                assert (await server.client.get(path, headers=headers)).status_code == 200, (role, path)
            refused = [
                await server.client.post("/conversations", json=PEOPLE, headers=headers),
                await server.client.post(f"/conversations/{ident}/commands", json={"text": "/pause"}, headers=headers),
                await server.client.delete(f"/conversations/{ident}", headers=headers),
            ]
            assert [answer.status_code for answer in refused] == [401] * 3
        headers = bearing("moderator")
        command = {"text": "/topic weather"}
        answer = await server.client.post(f"/conversations/{ident}/commands", json=command, headers=headers)
        assert answer.status_code == 200, answer.text
        assert (await server.client.delete(f"/conversations/{ident}", headers=headers)).status_code == 200


async def test_over_http_a_token_opens_its_rooms_only() -> None:
    async with serving(settings=SETTINGS) as server:
        mine, other = await _begun(server), await _begun(server)
        headers = bearing("moderator", mine)
        for path in ("", "/transcript"):
            assert (await server.client.get(f"/conversations/{mine}{path}", headers=headers)).status_code == 200
            refused = await server.client.get(f"/conversations/{other}{path}", headers=headers)
            assert refused.status_code == 401 and "not for room" in refused.json()["detail"]
        assert (await server.client.delete(f"/conversations/{other}", headers=headers)).status_code == 401
        everything = await server.client.get("/conversations", headers=headers)
        assert everything.status_code == 401 and "for some rooms" in everything.json()["detail"]
        for ident in (mine, other):
            await server.client.delete(f"/conversations/{ident}", headers=bearing("moderator"))


async def test_over_http_an_expired_token_is_told_so_and_counted() -> None:
    async with serving(settings=SETTINGS) as server:
        answer = await server.client.get("/models", headers=bearing("observer", lasting=-5))
        assert answer.status_code == 401 and "has expired: get a new one" in answer.json()["detail"]
        assert (
            await server.client.get("/models", params={"token": TOKENS.issue("observer", lasting=60)})
        ).status_code == 401
        assert 'palaver_denied_total{why="expired"} 1.0' in server.service.metrics.text()


async def test_a_stream_of_events_ends_with_its_token() -> None:
    async with serving(settings=SETTINGS) as server:
        ident = await _begun(server)
        headers = bearing("observer", lasting=1)
        started = time.time()
        async with server.client.stream("GET", f"/conversations/{ident}/events", headers=headers) as stream:
            assert stream.status_code == 200
            async with asyncio.timeout(5):
                async for _ in stream.aiter_lines():
                    pass
        assert 0.5 < time.time() - started < within(4)
        await server.client.delete(f"/conversations/{ident}", headers=bearing("moderator"))


async def test_guessing_tokens_over_http_runs_into_the_rate() -> None:
    async with serving(settings=SETTINGS, limit=RateLimit(3, 60)) as server:
        guesses = [await server.client.get("/models", headers={"Authorization": "Bearer guess"}) for _ in range(4)]
        assert [answer.status_code for answer in guesses] == [401, 401, 401, 429]


async def _get(port: int, path: str, **headers: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def test_rooms_and_metrics_are_for_those_with_a_token_where_one_is_asked() -> None:
    auth = auth_of("open sesame", secret=SECRET)
    async with running(auth=auth) as hub, joined(hub.url, "Ann", token="open sesame", room="private"):
        for path in ("/rooms", "/metrics"):
            status, text = await _get(hub.port, path)
            assert (status, "private" in text) == (401, False)
            assert (await _get(hub.port, path, Authorization="Bearer guess"))[0] == 401
            assert (await _get(hub.port, path, Authorization="Bearer open sesame"))[0] == 200
        listed = await _get(hub.port, "/rooms", **bearing("observer", "private"))
        assert [room["name"] for room in json.loads(listed[1])] == ["private"]
        assert json.loads((await _get(hub.port, "/rooms", **bearing("observer", "other")))[1]) == []
        assert (await _get(hub.port, "/metrics", **bearing("observer", "private")))[0] == 401
        assert [(await _get(hub.port, path))[0] for path in ("/", "/health", "/commands")] == [200] * 3


async def test_a_page_that_gives_its_name_this_machines_address_reads_no_rooms() -> None:
    """DNS rebinding: to the browser such a page is of the same origin as the hub."""
    async with running() as hub, joined(hub.url, "Ann", room="private"):
        for path in ("/rooms", "/metrics"):
            status, text = await _get(hub.port, path, Host=f"evil.example:{hub.port}")
            assert (status, "private" in text) == (403, False)
            assert (await _get(hub.port, path, Host="[:bad"))[0] == 403
            assert (await _get(hub.port, path, Host=f"localhost:{hub.port}"))[0] == 200


@pytest.mark.parametrize("role", ["observer", "moderator"])
async def test_whispers_are_shown_to_moderators_only_over_http(role: Role) -> None:
    async with serving(settings=SETTINGS) as server:
        ident = await _begun(server)
        whisper = {"text": "/w Bob between us"}
        url = f"/conversations/{ident}"
        async with asyncio.timeout(10):
            while (
                await server.client.post(f"{url}/commands", json=whisper, headers=bearing("moderator"))
            ).status_code != 200:
                pass
        shown = (await server.client.get(url, headers=bearing(role))).text
        assert ("between us" in shown) == (role == "moderator")
        await server.client.delete(url, headers=bearing("moderator"))
