"""The log that a hub's flags and environment ask for: its own file, or one that several hubs share."""

import argparse
import hashlib
import os
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from palaver.core.entry import Entry
from palaver.core.errors import ConfigError
from palaver.hub.nats_access import Access
from palaver.hub.nats_log import NatsLog
from palaver.hub.sqlite_log import SqliteLog


def add_shared_log_flags(flags: argparse.ArgumentParser) -> None:
    """`--log`, what it is shown, and what this hub is called on it."""
    flags.add_argument(
        "--log",
        metavar="URL",
        help="a log that several hubs share, on NATS JetStream: nats://host:port or tls://host:port, all servers of a "
        "cluster separated by commas (or PALAVER_LOG, also with a password); without it, the log is "
        "a file in --data-dir",
    )
    flags.add_argument(
        "--log-replicas",
        type=int,
        choices=(1, 3, 5),
        help="servers of the cluster that keep each entry (none: as the log has it, 1 where it is made)",
    )
    flags.add_argument(
        "--log-creds",
        type=Path,
        metavar="FILE",
        help="what the log's servers are shown: a .creds file, or a user's nkey seed (or environment variables "
        "PALAVER_LOG_USER and PALAVER_LOG_PASSWORD, or PALAVER_LOG_TOKEN)",
    )
    flags.add_argument("--log-tls-ca", type=Path, metavar="FILE", help="trust only these (PEM) for the log's servers")
    flags.add_argument("--log-tls-cert", type=Path, metavar="FILE", help="our certificate (PEM) for the log's servers")
    flags.add_argument("--log-tls-key", type=Path, metavar="FILE", help="its private key (PEM, without a password)")
    flags.add_argument(
        "--hub-name",
        metavar="NAME",
        help="what this hub is called among those that share a log; always the same, and its own (default: made of the "
        "machine's name and --data-dir)",
    )


def log_of(arguments: argparse.Namespace, on_commit: Callable[[float, int], None]) -> tuple[SqliteLog | NatsLog, str]:
    """The log, and what the hub is called on it; raises `ConfigError`."""
    servers = _servers(arguments.log)
    if not servers:
        for flag in ("log_replicas", "log_creds", "log_tls_ca", "log_tls_cert", "log_tls_key"):
            if getattr(arguments, flag) is not None:
                raise ConfigError(
                    f"--{flag.replace('_', '-')} is for a log that hubs share: give --log nats://host:port"
                )
        return SqliteLog(arguments.data_dir, fsync=arguments.fsync, on_commit=on_commit), arguments.hub_name or "hub"
    name = arguments.hub_name or _name_of_its_own(arguments.data_dir)
    log = NatsLog(
        servers,
        hub=name,
        folder=arguments.data_dir,
        on_commit=on_commit,
        replicas=arguments.log_replicas or 0,
        access=_access(
            creds=arguments.log_creds,
            tls_ca=arguments.log_tls_ca,
            tls_cert=arguments.log_tls_cert,
            tls_key=arguments.log_tls_key,
        ),
    )
    return log, name


async def rooms_and_entries(servers: str, choose: Callable[[list[str]], str]) -> tuple[str, list[Entry]]:
    """The room that `choose` takes of those of a shared log, and its whole log; raises `PalaverError`."""
    log = NatsLog(_servers(servers), hub=f"reader-{secrets.token_hex(4)}", access=_access(), make=False)
    await log.open()
    try:
        room = choose(await log.rooms())
        entries: list[Entry] = []
        position = 0
        while found := await log.read(room, position):
            entries += [entry for _, entry in found]
            position = found[-1][0]
        return room, entries
    finally:
        await log.close()


def _access(**files: Path | None) -> Access:
    """What the log's servers are shown: by the environment, and by files."""
    return Access(
        user=os.environ.get("PALAVER_LOG_USER", ""),
        password=os.environ.get("PALAVER_LOG_PASSWORD", ""),
        token=os.environ.get("PALAVER_LOG_TOKEN", ""),
        **files,
    )


def _servers(given: str | None) -> str:
    """Where the log is; a secret on the command line is refused: every process of the machine can read it there."""
    for url in (given or "").split(","):
        if "@" in urlsplit(url.strip()).netloc:
            raise ConfigError(
                "--log holds a password or a token, and others can read a command line: set PALAVER_LOG to that URL, "
                "or PALAVER_LOG_USER and PALAVER_LOG_PASSWORD"
            )
    return given or os.environ.get("PALAVER_LOG") or ""


def _name_of_its_own(folder: Path) -> str:
    """The same at every start, and another for every hub: of the machine's name and the data directory's."""
    machine = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname())[:40]
    return f"{machine}-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]}"
