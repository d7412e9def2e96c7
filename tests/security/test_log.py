"""The servers of a shared log: what a hub shows them, whom it trusts, and what it says where it is not let in."""

import asyncio
import json
from pathlib import Path

import pytest

from palaver.cli.server import parser as flags
from palaver.cli.shared_log import log_of
from palaver.core.errors import ConfigError, LogUnavailable
from palaver.hub.nats_access import Access
from palaver.hub.nats_log import NatsLog
from tests.hub.taken import Taken, entry
from tests.nats_server import nats_server
from tests.processes import program
from tests.security.certificates import Pair, certificate
from tests.security.credentials import key, operated

pytestmark = pytest.mark.system

PERMISSIONS = """
authorization { users: [ { user: "hub", password: "right", permissions: {
  publish: [%s]
  subscribe: ["palaver.>", "_INBOX.>", "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.palaver-log"]
} } ] }
"""
PUBLISHED = ("palaver.>", "$JS.API.>", "$JS.FC.>", "_INBOX.>")
"""What docs/scaling.md says that a hub must be allowed."""


async def outcome(url: str, access: Access | None = None, *, replicas: int = 0) -> str:
    """`said` where a hub could log an entry and had it back, else why it could not begin, or not log."""
    log = NatsLog(url, hub="one", access=access, replicas=replicas)
    try:
        await log.open()
    except LogUnavailable as error:
        return str(error)
    try:
        taken = Taken()
        log.tail("main", 0, taken)
        log.append(entry(1))
        await taken.until_answered(1)
        return "said" if taken.ids else taken.reasons[0]
    finally:
        await log.close()


def tls(pair: Pair, clients: Path | None = None) -> str:
    """A server's certificate; where `clients` is given it asks for theirs."""
    asks = f'ca_file: "{clients}", verify: true' if clients else ""
    return f'tls {{ cert_file: "{pair.certificate}", key_file: "{pair.key}", {asks} }}\n'


# --- TLS -------------------------------------------------------------------------------------------------------------


async def test_a_server_is_trusted_by_its_authority_and_asks_for_a_certificate_of_ours(tmp_path: Path) -> None:
    authority, other = certificate(tmp_path, "authority"), certificate(tmp_path, "other")
    server, own = (certificate(tmp_path, name, signer=authority) for name in ("server", "own"))
    foreign = certificate(tmp_path, "foreign", signer=other)
    async with nats_server(tmp_path / "nats", tls(server, authority.certificate)) as nats:
        url = nats.url.replace("nats://", "tls://")
        ca = authority.certificate
        assert await outcome(url, Access(tls_ca=ca, tls_cert=own.certificate, tls_key=own.key)) == "said"
        for access in (None, Access(tls_ca=other.certificate)):
            told = await outcome(url, access)
            assert "its certificate is not trusted" in told and "--log-tls-ca" in told
        assert "it asks for a certificate of ours: --log-tls-cert" in await outcome(url, Access(tls_ca=ca))
        stranger = Access(tls_ca=ca, tls_cert=foreign.certificate, tls_key=foreign.key)
        assert "it does not trust our certificate (--log-tls-cert)" in await outcome(url, stranger)


async def test_nothing_is_shown_to_a_server_without_tls_where_tls_is_asked_for(tmp_path: Path) -> None:
    """Who sits between says that it speaks none, and would be told the password."""
    pair, heard = certificate(tmp_path), bytearray()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        about = {"server_id": "x", "version": "2.15.0", "headers": True, "max_payload": 1 << 20, "jetstream": True}
        writer.write(b"INFO " + json.dumps(about | {"auth_required": True}).encode() + b"\r\n")
        heard.extend(await reader.read())
        writer.close()

    async with await asyncio.start_server(between, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for url, access in (
            (f"tls://127.0.0.1:{port}", Access(user="hub", password="right")),
            (f"nats://127.0.0.1:{port}", Access(user="hub", password="right", tls_ca=pair.certificate)),
            (f"tls://hub:right@127.0.0.1:{port}", None),
        ):
            assert "it speaks no TLS" in await outcome(url, access)
    assert heard == b""


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    one, two, text = certificate(tmp_path, "one"), certificate(tmp_path, "two"), tmp_path / "text"
    text.write_text("nothing of that kind")
    for access, says in (
        (Access(tls_ca=tmp_path / "none"), "--log-tls-ca .*none: No such file"),
        (Access(tls_ca=text), "--log-tls-ca .*text: holds no certificate in PEM form"),
        (Access(tls_cert=one.certificate), "--log-tls-cert and --log-tls-key go together"),
        (Access(tls_cert=one.certificate, tls_key=two.key), "two.key: do not belong together"),
        (Access(creds=tmp_path / "none"), "--log-creds .*none: No such file"),
        (Access(creds=text), "--log-creds .*text: holds no seed of a user"),
        (Access(user="hub"), "PALAVER_LOG_USER and PALAVER_LOG_PASSWORD go together"),
        (Access(token="x", creds=text), "is shown one of these: PALAVER_LOG_USER"),
    ):
        with pytest.raises(ConfigError, match=says):
            NatsLog("nats://127.0.0.1:1", hub="one", access=access)


# --- credentials -----------------------------------------------------------------------------------------------------


async def test_users_and_passwords_of_the_environment_and_the_url(tmp_path: Path) -> None:
    """What a URL needs percent signs for is what the server is shown."""
    async with nats_server(tmp_path / "nats", 'authorization { user: "hub", password: "r:g/h@t" }\n') as nats:
        assert await outcome(nats.url, Access(user="hub", password="r:g/h@t")) == "said"
        assert await outcome(nats.url.replace("//", "//hub:r%3Ag%2Fh%40t@")) == "said"
        assert "it does not admit our user and password" in await outcome(nats.url, Access(user="hub", password="x"))
        assert "it asks who we are: set PALAVER_LOG_USER and" in await outcome(nats.url)
        assert "it does not admit our token" in await outcome(nats.url, Access(token="right"))


async def test_tokens(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats", 'authorization { token: "right" }\n') as nats:
        assert await outcome(nats.url, Access(token="right")) == "said"
        assert await outcome(nats.url.replace("//", "//right@")) == "said"
        assert "it does not admit our token" in await outcome(nats.url, Access(token="wrong"))


async def test_a_users_seed_and_a_creds_file(tmp_path: Path) -> None:
    own, other, path = key(), key(), tmp_path / "hub.creds"
    async with nats_server(tmp_path / "nats", f"authorization {{ users: [ {{ nkey: {own.public} }} ] }}\n") as nats:
        path.write_text(f"{own.seed}\n")
        assert await outcome(nats.url, Access(creds=path)) == "said"
        path.write_text(f"{other.seed}\n")
        told = await outcome(nats.url, Access(creds=path))
        assert f"it does not admit our {path}" in told and other.seed not in told
    config, creds = operated()
    async with nats_server(tmp_path / "operated", config) as nats:
        path.write_text(creds)
        assert await outcome(nats.url, Access(creds=path)) == "said"
        path.write_text(creds.replace("ey", "ez"))
        assert f"it does not admit our {path}" in await outcome(nats.url, Access(creds=path))


async def test_a_hub_takes_its_secrets_from_the_environment(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats", 'authorization { user: "hub", password: "right" }\n') as nats:
        for env, flags in (
            ({"PALAVER_LOG_USER": "hub", "PALAVER_LOG_PASSWORD": "right"}, ("--log", nats.url)),
            ({"PALAVER_LOG": nats.url.replace("//", "//hub:right@")}, ()),
        ):
            where = ("--port", "0", "--data-dir", str(tmp_path / "data"), "--no-transcripts")
            async with program("server.py", *where, *flags, env=env) as hub:
                await hub.until("Palaver hub: ws://")
                assert "right" not in hub.output


@pytest.mark.parametrize("secret", ["hub:right@", "right@"])
def test_a_secret_on_the_command_line_is_refused(secret: str) -> None:
    """Whoever is on the machine can read it there."""
    with pytest.raises(ConfigError, match="others can read a command line: set PALAVER_LOG") as refused:
        log_of(flags().parse_args(["--log", f"nats://one:4222,nats://{secret}two:4222"]), lambda *_: None)
    assert "right" not in str(refused.value)


def test_what_belongs_to_a_shared_log_needs_one() -> None:
    with pytest.raises(ConfigError, match="--log-replicas is for a log that hubs share: give --log nats://"):
        log_of(flags().parse_args(["--log-replicas", "3"]), lambda *_: None)


# --- what the server lacks, or does not allow ------------------------------------------------------------------------


async def test_a_server_or_an_account_without_jetstream_is_told(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats", jetstream=False) as nats:
        assert "no JetStream there: give nats-server a jetstream block" in await outcome(nats.url)
    accounts = 'accounts { PLAIN { users: [ { user: "hub", password: "right" } ] } }\n'
    async with nats_server(tmp_path / "accounts", accounts) as nats:
        assert "no JetStream there" in await outcome(nats.url, Access(user="hub", password="right"))


async def test_replicas_need_a_cluster(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats") as nats:
        assert "--log-replicas 3 needs a cluster of NATS servers" in await outcome(nats.url, replicas=3)


async def test_a_hub_needs_no_more_than_the_permissions_of_the_docs(tmp_path: Path) -> None:
    config = PERMISSIONS % ", ".join(f'"{subject}"' for subject in PUBLISHED)
    async with nats_server(tmp_path / "nats", config) as nats:
        assert await outcome(nats.url, Access(user="hub", password="right")) == "said"


@pytest.mark.parametrize("missing", PUBLISHED[:2])
async def test_a_permission_that_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    config = PERMISSIONS % ", ".join(f'"{subject}"' for subject in PUBLISHED if subject != missing)
    async with nats_server(tmp_path / "nats", config) as nats:
        told = await outcome(nats.url, Access(user="hub", password="right"))
        assert "permissions violation for publish to" in told and missing.rstrip(">").lower() in told
        assert "docs/scaling.md" in told


async def test_a_room_that_may_not_be_written_is_told_to_its_members_and_others_go_on(tmp_path: Path) -> None:
    config = PERMISSIONS % '"palaver.hubs.>", "palaver.hubs", "palaver.log.main", "$JS.API.>", "$JS.FC.>", "_INBOX.>"'
    async with nats_server(tmp_path / "nats", config) as nats:
        log = NatsLog(nats.url, hub="one", access=Access(user="hub", password="right"))
        await log.open()
        try:
            main, other = Taken(), Taken()
            log.tail("main", 0, main)
            log.tail("other", 0, other)
            log.append(entry(1, "other"))
            await other.until_answered(1)
            assert "permissions violation" in other.reasons[0]
            log.append(entry(2))
            await main.until(lambda: bool(main.ids))
        finally:
            await log.close()
