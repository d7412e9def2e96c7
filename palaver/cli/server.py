"""`palaver server`: a hub on this machine."""

import argparse
import asyncio
import contextlib
import errno
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from palaver.cli.common import (
    Parser,
    add_log_flags,
    add_trace_flag,
    let_the_collector_rest,
    make,
    run_async,
    set_up,
)
from palaver.cli.limits import add_limit_flags, allow_many_connections, limits_of
from palaver.cli.numbers import between, port, whole
from palaver.cli.shared_log import add_shared_log_flags, log_of
from palaver.core.errors import ConfigError, LogUnavailable
from palaver.core.limits import MOST_HISTORY
from palaver.core.origins import tidy_origin
from palaver.core.policies import POLICIES
from palaver.core.state import RoomState
from palaver.hub.audit import AuditLog
from palaver.hub.auth import Auth, is_loopback
from palaver.hub.hub import Hub
from palaver.hub.metrics import Metrics
from palaver.hub.server import listening
from palaver.hub.tls import server_tls
from palaver.hub.tokens import auth_of
from palaver.hub.transcripts import Transcripts

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The flags of a hub."""
    flags = Parser(prog="server.py", description="The hub: orders, logs and delivers what is said in its rooms.")
    flags.add_argument("--host", default="127.0.0.1", help="address to listen on")
    flags.add_argument("--port", type=port, default=8765, help="port to listen on; 0 takes a free one")
    flags.add_argument(
        "--data-dir", type=Path, default=Path("data"), metavar="DIR", help="where the log lies; made if missing"
    )
    add_shared_log_flags(flags)
    flags.add_argument(
        "--fsync",
        choices=("always", "everysec"),
        default="everysec",
        help="when the log reaches the disk itself: before each acknowledgement (survives a power cut), or each second "
        "(survives a killed process)",
    )
    flags.add_argument(
        "--transcripts", type=Path, default=Path("logs"), metavar="DIR", help="where ROOM.jsonl and ROOM.md are written"
    )
    flags.add_argument("--no-transcripts", action="store_true", help="write none")
    flags.add_argument(
        "--history", type=whole(most=MOST_HISTORY), default=50, metavar="N", help="past messages that a newcomer gets"
    )
    _add_floor_flags(flags)
    flags.add_argument(
        "--token", help="everybody must show this token (better: environment variable PALAVER_TOKEN)", default=None
    )
    flags.add_argument(
        "--origin",
        type=_origin,
        action="append",
        default=[],
        metavar="URL",
        help="another site's page that may connect; the hub's own always may",
    )
    add_tls_flags(flags)
    flags.add_argument(
        "--audit-log",
        metavar="FILE",
        help="every moderator's command is added to it; '' keeps none (default: audit.jsonl in --data-dir)",
    )
    flags.add_argument("--insecure", action="store_true", help="listen beyond this machine without any token")
    flags.add_argument("--max-rooms", type=whole(1), default=1000, metavar="N", help="rooms that may be open")
    add_limit_flags(flags)
    add_log_flags(flags)
    add_trace_flag(flags)
    return flags


def _add_floor_flags(flags: argparse.ArgumentParser) -> None:
    """The floor that a new room begins with."""
    flags.add_argument("--policy", choices=list(POLICIES), default="open", help="floor policy of new rooms")
    flags.add_argument(
        "--hop-limit",
        type=whole(),
        default=40,
        metavar="N",
        help="agent messages without a human after which a new room pauses itself; 0: never",
    )
    flags.add_argument("--lease", type=between(1, 1e6), default=120.0, help="seconds that a model may take to answer")


def add_tls_flags(flags: argparse.ArgumentParser) -> None:
    """`--tls-cert` and `--tls-key`."""
    flags.add_argument("--tls-cert", metavar="FILE", help="certificate (PEM, with its chain): the hub speaks wss://")
    flags.add_argument("--tls-key", metavar="FILE", help="its private key (PEM, without a password)")


def _origin(text: str) -> str:
    """For argparse: an origin."""
    try:
        return tidy_origin(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(argv: Sequence[str]) -> int:
    """Run a hub until SIGINT or SIGTERM; exit code 0 then."""
    arguments = parser().parse_args(argv)
    return run_async(_serve(arguments))


async def _serve(arguments: argparse.Namespace) -> int:
    set_up(arguments, "palaver-server")
    auth = _auth(arguments)
    allow_many_connections()
    stopping = asyncio.Event()
    starting = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        if starting is not None:
            starting.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    tls = server_tls(arguments.tls_cert, arguments.tls_key)
    let_the_collector_rest()
    hub = _hub(arguments)
    try:
        async with contextlib.AsyncExitStack() as stack:
            opening = listening(hub, auth, host=arguments.host, port=arguments.port, origins=arguments.origin, tls=tls)
            try:
                server = await stack.enter_async_context(opening)
            except OSError as error:
                raise ConfigError(f"cannot listen on {arguments.host}:{arguments.port}: {hindrance(error)}") from error
            starting = None
            for listener in server.sockets:
                host, port = listener.getsockname()[:2]
                address = f"[{host}]" if ":" in host else host
                s = "s" if tls else ""
                print(f"Palaver hub: ws{s}://{address}:{port}")
                print(f"Page to watch and steer: http{s}://{address}:{port}/", flush=True)
            await stopping.wait()
            logger.info("stopping: members are told to come back")
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    except LogUnavailable as error:
        raise ConfigError(str(error)) from error
    return 0


def hindrance(error: OSError, flag: str = "--port") -> str:
    """Why a hub cannot listen, and what to do; `flag` sets its port."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"something listens there already; take another {flag} (0 takes a free one)"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.EACCES:
            return "only root may listen on a port below 1024"
    return error.strerror or str(error)


def _auth(arguments: argparse.Namespace) -> Auth:
    token = arguments.token or os.environ.get("PALAVER_TOKEN") or None
    secret = os.environ.get("PALAVER_SECRET") or None
    if token is None and secret is None and not arguments.insecure and not is_loopback(arguments.host):
        raise ConfigError(
            f"--host {arguments.host} is open to other machines: set PALAVER_TOKEN or PALAVER_SECRET, "
            "or say --insecure if you mean it"
        )
    return auth_of(token, moderator=os.environ.get("PALAVER_MODERATOR_TOKEN") or None, secret=secret)


def _hub(arguments: argparse.Namespace) -> Hub:
    metrics = Metrics()

    def on_commit(seconds: float, entries: int) -> None:
        metrics.commit.observe(seconds)

    def defaults(state: RoomState) -> None:
        state.floor.policy = arguments.policy
        state.floor.hop_limit = arguments.hop_limit
        state.floor.lease = arguments.lease

    make(arguments.data_dir, "--data-dir", mode=0o700)  # sessions and whispers lie there
    log, name = log_of(arguments, on_commit)
    transcripts = None if arguments.no_transcripts else Transcripts(arguments.transcripts)
    kept = arguments.audit_log if arguments.audit_log is not None else str(arguments.data_dir / "audit.jsonl")
    return Hub(
        log=log,
        archive=log,
        name=name,
        transcripts=transcripts,
        metrics=metrics,
        history=arguments.history,
        max_rooms=arguments.max_rooms,
        limits=limits_of(arguments),
        audit=AuditLog(Path(kept)) if kept else None,
        defaults=defaults,
    )
