"""Signed tokens: what each opens, how long, and what is refused with which words."""

import base64
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from palaver.cli import main
from palaver.core.errors import ConfigError
from palaver.core.message import Role
from palaver.core.protocol import Close
from palaver.hub.auth import SharedSecret
from palaver.hub.tokens import ALGORITHM, AUDIENCE, ISSUER, SignedTokens, auth_of
from tests.hubs import RunningHub, joined, running, stranger
from tests.patience import within

SECRET = "0123456789abcdef" * 4
TOKENS = SignedTokens(SECRET)


def token(role: Role = "moderator", *, lasting: float | None = 60, **options: Any) -> str:
    """A token of the test hub."""
    return TOKENS.issue(role, lasting=lasting, **options)


def forged(*, key: str = SECRET, algorithm: str | None = ALGORITHM, **changes: Any) -> str:
    """A token with other claims than ours has; `None` takes a claim out."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": int(time.time()), "exp": time.time() + 60, "role": "moderator"}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, key, algorithm)


@asynccontextmanager
async def guarded(**options: Any) -> AsyncIterator[RunningHub]:
    """A hub that asks for signed tokens."""
    async with running(auth=auth_of(secret=SECRET), **options) as hub:
        yield hub


async def refused(hub: RunningHub, shown: str | None, name: str = "Ann", role: str = "moderator", **more: Any) -> str:
    """Join and be turned away; returns why."""
    async with stranger(hub.url) as one:
        await one.send({"type": "join", "name": name, "role": role, "token": shown, **more})
        answer = await one.next()
        assert answer["type"] == "error", answer
        assert answer["code"] == "access_denied"
        with pytest.raises(ConnectionClosed) as closed:
            await one.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == Close.ACCESS_DENIED
        return str(answer["reason"])


async def test_a_token_opens_its_room_under_its_name_in_its_role_and_nothing_else() -> None:
    async with guarded() as hub:
        shown = token("model", name="Zen Sage", rooms=["debate"])
        async with joined(hub.url, "zen sage", "model", room="debate", token=shown):
            pass
        assert "'Zen Sage', not for 'Zen'" in await refused(hub, shown, "Zen", "model", room="debate")
        assert "debate, not for room 'main'" in await refused(hub, shown, "Zen Sage", "model")
        assert "model, not for moderator" in await refused(hub, shown, "Zen Sage", "moderator", room="debate")
        assert "model, not for observer" in await refused(hub, shown, "Zen Sage", "observer", room="debate")


async def test_a_token_without_name_and_rooms_is_for_all_and_a_moderators_may_watch() -> None:
    async with guarded() as hub:
        async with joined(hub.url, "Ann", token=token()), joined(hub.url, "Bob", "observer", room="x", token=token()):
            pass
        assert "moderator or observer, not for model" in await refused(hub, token(), "Bot", "model")


def _without_signature() -> str:
    header, claims, _ = token().split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    assert header
    return f"{none}.{claims}."


def _signed_as_rs256() -> str:
    """The header says RS256; a careless reader would take the shared secret for a public key."""
    _, claims, signature = token().split(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    return f"{head}.{claims}.{signature}"


WRONG: dict[str, tuple[Callable[[], str | None], str]] = {
    "no token": (lambda: None, "missing"),
    "empty": (lambda: "", "missing"),
    "garbage": (lambda: "garbage", "cannot be read"),
    "two dots": (lambda: "..", "cannot be read"),
    "no text": (lambda: "\x00\ud7ff.é.\u202e", "cannot be read"),
    "too long": (lambda: "x" * 4000, "cannot be read"),
    "expired": (lambda: token(lasting=-5), "has expired: get a new one"),
    "expired this moment": (lambda: forged(exp=int(time.time())), "has expired"),
    "not valid yet": (lambda: forged(nbf=time.time() + 60), "not valid yet"),
    "other audience": (lambda: forged(aud="a-shop"), "something else than a hub"),
    "other issuer": (lambda: forged(iss="a-shop"), "something else than a hub"),
    "no audience": (lambda: forged(aud=None), "cannot be read"),
    "no end": (lambda: forged(exp=None), "no end"),
    "end that is no time": (lambda: forged(exp="tomorrow"), "cannot be read"),
    "no role": (lambda: forged(role=None), "cannot be read"),
    "unknown role": (lambda: forged(role="admin"), "cannot be read"),
    "rooms that are no list": (lambda: forged(rooms="main"), "cannot be read"),
    "name that cannot be": (lambda: forged(sub="system"), "for nobody"),
    "no algorithm": (_without_signature, "not signed with HS256"),
    "RS256": (_signed_as_rs256, "not signed with HS256"),
    "HS512": (lambda: forged(algorithm="HS512"), "not signed with HS256"),
    "other secret": (lambda: forged(key="another secret of thirty-two bytes"), "signed with another secret"),
    "changed": (lambda: token("observer")[:-20] + token()[-20:], "another secret"),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_any_other_token_is_refused_with_what_to_do_and_never_logged(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, words = WRONG[kind]
    async with guarded() as hub:
        shown = make()
        with caplog.at_level(logging.DEBUG, logger="palaver"):
            reason = await refused(hub, shown)
        assert words in reason
        assert not shown or len(shown) < 3 or shown not in reason + caplog.text
        assert "127.0.0.1" in caplog.text
        assert "palaver_denied_total" in hub.hub.metrics.text()


async def test_a_token_longer_than_any_is_refused_unread() -> None:
    async with guarded() as hub, stranger(hub.url) as one:
        await one.send({"type": "join", "name": "Ann", "role": "moderator", "token": "x" * 5000})
        assert "length <= 4096" in (await one.next())["reason"]


async def test_failed_logins_are_counted_by_why() -> None:
    async with guarded() as hub:
        await refused(hub, None)
        await refused(hub, token(lasting=-5))
        await refused(hub, token("model"), "Bot", "observer")
        counted = hub.hub.metrics.text()
    for why in ("missing", "expired", "role"):
        assert f'palaver_denied_total{{why="{why}"}} 1.0' in counted


async def test_a_member_is_sent_away_when_its_token_ends_and_is_not_heard_after() -> None:
    """The connection closes within a second of the end, though nothing was said on it."""
    async with guarded() as hub:
        shown = forged(exp=int(time.time()) + 2)
        async with joined(hub.url, "Ann", token=token()) as ann, joined(hub.url, "Eve", token=shown) as eve:
            assert (await eve.say("in time"))["type"] == "ack"
            told = await eve.until("error")
            assert 0 <= time.time() - (jwt.decode(shown, options={"verify_signature": False})["exp"]) < within(1.2)
            assert told["code"] == "token_expired" and "get a new one" in told["reason"]
            with pytest.raises(ConnectionClosed) as closed:
                await eve.next()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == Close.TOKEN_EXPIRED
            assert not Close.TOKEN_EXPIRED.may_return
            left = await ann.until("presence", name="Eve", state="left")
            assert "expired" in left["text"]


async def test_whoever_was_sent_away_is_not_heard_while_it_hangs_up() -> None:
    async with guarded() as hub, joined(hub.url, "Ann", token=token()) as ann:
        async with joined(hub.url, "Eve", token=token()) as eve:
            seat = next(s for s in hub.hub.rooms["main"].outbox.sessions.values() if s.name == "Eve")
            seat.on_end = lambda code, reason: None  # as if the goodbye took its time
            seat.end(Close.TOKEN_EXPIRED, "over")
            await eve.send({"type": "message", "id": "1", "content": "still here?"})
            await eve.close()
        await ann.until("presence", name="Eve", state="left")
        assert ann.messages() == []


async def test_a_session_that_comes_back_is_asked_for_its_token_again() -> None:
    """Also where its seat is still warm: what was admitted once is not admitted for ever."""
    async with guarded() as hub:
        short = forged(exp=int(time.time()) + 2)
        async with joined(hub.url, "Ann", token=short, session="s" * 32) as ann:
            await ann.until("error")
        assert "expired" in await refused(hub, short, session="s" * 32)
        assert "missing" in await refused(hub, None, session="s" * 32)


async def test_shared_secrets_work_beside_signed_tokens() -> None:
    auth = auth_of("for all", moderator="for moderators", secret=SECRET)
    async with running(auth=auth) as hub:
        async with (
            joined(hub.url, "Bot", "model", token="for all"),
            joined(hub.url, "Ann", token="for moderators"),
            joined(hub.url, "Bob", "observer", token=token("observer")),
        ):
            pass
        assert "not for moderator" in await refused(hub, "for all")
        assert "missing" in await refused(hub, None, "Eve", "observer")


def test_shared_secrets_are_all_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def note(given: bytes, secret: bytes) -> bool:
        compared.append(secret)
        return hmac.compare_digest(given, secret)

    monkeypatch.setattr("palaver.hub.auth.hmac", SimpleNamespace(compare_digest=note))
    shared = SharedSecret("for all", moderator="for moderators", own="for us")
    for given in ("for us", "for moderators", "for all"):
        compared.clear()
        shared.rights_of(given)
        assert compared == [b"for us", b"for moderators", b"for all"]


async def test_a_moderators_secret_alone_does_not_open_a_hub_that_signs() -> None:
    async with running(auth=auth_of(moderator="boss", secret=SECRET)) as hub:
        assert "missing" in await refused(hub, None, "Eve", "observer")


async def test_a_token_may_stand_among_the_subprotocols_and_does_not_come_back() -> None:
    async with guarded() as hub:
        offered = [Subprotocol("palaver"), Subprotocol(f"palaver.token.{token(name='Ann')}")]
        async with connect(hub.url, proxy=None, subprotocols=offered) as one:
            assert one.subprotocol == "palaver"
            assert one.response is not None and "eyJ" not in str(one.response.headers)
            await one.send(json.dumps({"type": "join", "name": "Ann", "role": "moderator"}))
            assert json.loads(await one.recv())["type"] == "welcome"
        async with connect(hub.url, proxy=None, subprotocols=[Subprotocol("palaver")]) as one:
            await one.send(json.dumps({"type": "join", "name": "Ann", "role": "moderator"}))
            assert json.loads(await one.recv())["code"] == "access_denied"


@pytest.mark.parametrize("query", ["?token={}", "?a=b&access_token={}", "{}"])
async def test_a_token_in_the_url_is_told_to_be_in_the_wrong_place(query: str) -> None:
    async with guarded() as hub:
        with pytest.raises(InvalidStatus) as refusal:
            await connect(f"{hub.url}/{query.format(token())}", proxy=None)
        assert refusal.value.response.status_code == 400
        assert b"ends up in logs" in (refusal.value.response.body or b"")


@pytest.mark.parametrize("secret", ["short", "x" * 31, "é" * 15])
def test_a_short_secret_is_refused_with_how_to_make_one(secret: str) -> None:
    with pytest.raises(ConfigError, match=r"needs 32: make one with `openssl rand -hex 32`") as refusal:
        auth_of(secret=secret)
    assert secret not in str(refusal.value)


def test_the_command_line_makes_tokens(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PALAVER_SECRET", SECRET)
    asked = ["token", "--name", "Zen  Sage", "--role", "model", "--room", "debate", "--room", "main", "--expires"]
    assert main([*asked, "12h"]) == 0
    rights = TOKENS.rights_of(capsys.readouterr().out.strip())
    assert (rights.name, rights.roles, rights.rooms) == (
        "Zen Sage",
        frozenset({"model"}),
        frozenset({"debate", "main"}),
    )
    assert abs(rights.expires - time.time() - 12 * 3600) < 5
    for text, seconds in (("30s", 30), ("5m", 300), ("7d", 7 * 86400)):
        assert main([*asked, text]) == 0
        assert abs(TOKENS.rights_of(capsys.readouterr().out.strip()).expires - time.time() - seconds) < 5
    assert main([*asked, "never"]) == 0
    assert TOKENS.rights_of(capsys.readouterr().out.strip()).expires == float("inf")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--role", "boss"], "invalid choice"),
        ([], "--role"),
        (["--role", "model", "--room", "no room"], "letters, digits"),
        (["--role", "model", "--name", "system"], "reserved"),
        (["--role", "model", "--expires", "soon"], "30s, 5m, 2h or 1d, or never"),
    ],
)
def test_a_token_that_cannot_be_is_not_made(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["token", *flags])
    assert words in capsys.readouterr().err


def test_without_a_secret_no_token_is_made(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("PALAVER_SECRET", raising=False)
    assert main(["token", "--role", "model"]) == 2
    assert "openssl rand -hex 32" in capsys.readouterr().err
    monkeypatch.setenv("PALAVER_SECRET", "short")
    assert main(["token", "--role", "model"]) == 2
    assert "has 5 bytes" in capsys.readouterr().err
