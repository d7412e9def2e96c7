"""How a log lies in JetStream: its streams, its subjects, and the URL that names it."""

import asyncio
import hashlib
import logging
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from palaver.core.errors import ConfigError, LogUnavailable
from palaver.hub.nats_broker import Broker, NotReady

if TYPE_CHECKING:
    from nats.js.api import StreamConfig, StreamInfo

logger = logging.getLogger(__name__)

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a log or a hub may be called: it stands in subjects."""
DUPLICATES: Final = 300.0
"""Seconds for which the server knows a message by its `Nats-Msg-Id`."""
CONSUMERS: Final = 1_000_000
"""Open rooms of all hubs together; where a stream does not say, a server allows 1,000."""
QUESTION: Final = 2.0
"""Seconds to say how a stream is; a cluster never answers what was asked before it had agreed on a leader."""
NO_PEERS: Final = 10005
IN_USE: Final = 10058
NO_CLUSTER: Final = 10074
"""JetStream's codes: fewer servers than replicas, another hub made it just now, replicas need a cluster."""
SMALLEST: Final = 1024 * 1024
"""Bytes that a server must take in one message; it is its default."""


def parse(servers: str) -> tuple[list[str], str]:
    """The servers' URLs and the log's name, from `nats://one:4222/NAME,nats://two:4222`; raises `ConfigError`."""
    urls = [url.strip() for url in servers.split(",") if url.strip()]
    names = {name for url in urls if (name := urlsplit(url).path.strip("/"))} or {"palaver"}
    if not urls or any(urlsplit(url).scheme not in ("nats", "tls") for url in urls):
        raise ConfigError(f"--log {servers!r}: give nats://host:port, or several separated by commas")
    if any(urlsplit(url).query or urlsplit(url).fragment for url in urls):
        raise ConfigError("--log: a URL takes no ? and no #; in a password they are %3F and %23")
    if len(names) > 1 or not NAME.fullmatch(next(iter(names))):
        raise ConfigError(f"--log {servers!r}: a log's name (the URL's path) is 1 to 64 letters, digits, - or _")
    return [url.removesuffix(urlsplit(url).path) for url in urls], names.pop()


def token_of(room: str) -> str:
    """The room's name as one token of a subject: dots part tokens, and `%` is in no room's name."""
    return room.replace(".", "%")


def room_of(token: str) -> str:
    """The room that a token names."""
    return token.replace("%", ".")


class Names:
    """Streams and subjects of one log."""

    def __init__(self, name: str) -> None:
        self.log = f"{name}-log"
        self.snapshots = f"{name}-snapshots"
        self.hubs = f"{name}.hubs"
        self.texts = f"{name}.text.*"
        self.elections = f"$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{self.log}"
        self.all_entries = f"{name}.log.*"
        self.all_snapshots = f"{name}.snapshots.*"

    def entries(self, room: str) -> str:
        """Where a room's entries go."""
        return self.all_entries.replace("*", token_of(room))

    def snapshot(self, room: str) -> str:
        """Where a room's snapshots go."""
        return self.all_snapshots.replace("*", token_of(room))

    def text(self, room: str) -> str:
        """Where text goes that is streamed in a room; it is in no stream."""
        return self.texts.replace("*", token_of(room))


async def make_streams(broker: Broker, names: Names, replicas: int = 0, *, make: bool = True) -> tuple[str, int]:
    """Make the streams that are missing, and give one that has fewer than `replicas` as many (0: leave that to others).

    Without `make` it raises `LogUnavailable` where there is no such log, for whoever only reads.
    Returns what tells this log from another that was made under the same name, and the number of its last message.
    Raises `LogUnavailable` where a stream would lose what we need.
    """
    from nats.js.api import StreamConfig
    from nats.js.errors import NotFoundError

    if not make:
        try:
            await broker.jetstream.stream_info(names.log)
        except NotFoundError as error:
            raise LogUnavailable(f"no log of hubs is there under that name: no stream {names.log}") from error
    if broker.client.max_payload < SMALLEST:
        raise LogUnavailable(f"the server takes {broker.client.max_payload} bytes a message: set max_payload to 1MB")
    log = StreamConfig(
        name=names.log, subjects=[names.all_entries], duplicate_window=DUPLICATES, deny_delete=True, deny_purge=True
    )
    found = await _make(broker, log, replicas)
    await _make(broker, StreamConfig(name=names.snapshots, subjects=[names.all_snapshots]), replicas)
    return hashlib.sha256(f"{names.log} {found.created}".encode()).hexdigest()[:12], found.state.last_seq


async def _make(broker: Broker, wanted: "StreamConfig", replicas: int) -> "StreamInfo":
    from nats.js.api import DiscardPolicy

    info = await broker.ask(_there_or_made(broker, wanted, replicas))
    found = info.config
    limits = [name for name in ("max_msgs", "max_bytes", "max_age") if (getattr(found, name) or 0) > 0]
    if found.subjects != wanted.subjects:
        raise LogUnavailable(f"stream {wanted.name} holds {found.subjects}: another program uses that name")
    if (limits and found.discard != DiscardPolicy.NEW) or "max_age" in limits:
        raise LogUnavailable(f"stream {wanted.name} forgets what is old ({', '.join(limits)}): nothing may be lost")
    if info.cluster is not None and info.cluster.leader is None:
        raise NotReady("the servers have not agreed on who leads")
    if broker.in_cluster() and (found.num_replicas or 1) < 2:
        logger.warning(
            "log: stream %s is on one server of the cluster only: --log-replicas 3 keeps it on 3", wanted.name
        )
    return info


async def _there_or_made(broker: Broker, wanted: "StreamConfig", replicas: int) -> "StreamInfo":
    """The stream as it is, or as it was made or given more replicas."""
    from nats.js.api import DiscardPolicy, StorageType, StoreCompression
    from nats.js.errors import APIError, NotFoundError

    jetstream = broker.jetstream
    kept = {"storage": StorageType.FILE, "discard": DiscardPolicy.NEW, "compression": StoreCompression.S2}
    try:
        try:
            async with asyncio.timeout(QUESTION):
                info = await jetstream.stream_info(str(wanted.name))
        except NotFoundError:
            return await jetstream.add_stream(
                wanted.evolve(num_replicas=replicas or 1, max_consumers=CONSUMERS, **kept)
            )
        if replicas > (info.config.num_replicas or 1):
            logger.info("log: stream %s gets %d replicas", wanted.name, replicas)
            return await jetstream.update_stream(info.config.evolve(num_replicas=replicas))
        return info
    except APIError as error:
        if error.err_code == IN_USE:
            return await jetstream.stream_info(str(wanted.name))
        if error.err_code == NO_CLUSTER:
            raise LogUnavailable(
                f"--log-replicas {replicas} needs a cluster of NATS servers, this one is alone"
            ) from error
        if error.err_code == NO_PEERS:
            raise NotReady(f"--log-replicas {replicas}: the cluster has fewer servers at present") from error
        raise
