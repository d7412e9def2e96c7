"""How a log lies in JetStream: its streams, its subjects, and the URL that names it."""

import hashlib
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from palaver.core.errors import ConfigError, LogUnavailable
from palaver.hub.nats_broker import Broker

if TYPE_CHECKING:
    from nats.js.api import StreamConfig, StreamInfo

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a log or a hub may be called: it stands in subjects."""
DUPLICATES: Final = 300.0
"""Seconds for which the server knows a message by its `Nats-Msg-Id`."""
CONSUMERS: Final = 1_000_000
"""Open rooms of all hubs together; where a stream does not say, a server allows 1,000."""
SMALLEST: Final = 1024 * 1024
"""Bytes that a server must take in one message; it is its default."""


def parse(servers: str) -> tuple[list[str], str]:
    """The servers' URLs and the log's name, from `nats://one:4222/NAME,nats://two:4222`; raises `ConfigError`."""
    urls = [url.strip() for url in servers.split(",") if url.strip()]
    names = {name for url in urls if (name := urlsplit(url).path.strip("/"))} or {"palaver"}
    if not urls or any(urlsplit(url).scheme not in ("nats", "tls") for url in urls):
        raise ConfigError(f"--log {servers!r}: give nats://host:port, or several separated by commas")
    if len(names) > 1 or not NAME.fullmatch(next(iter(names))):
        raise ConfigError(f"--log {servers!r}: a log's name (the URL's path) is 1 to 64 letters, digits, - or _")
    return [url.partition("?")[0].removesuffix(urlsplit(url).path) for url in urls], names.pop()


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


async def make_streams(broker: Broker, names: Names) -> tuple[str, int]:
    """Make the streams that are missing; one that is there stays as it is (replicas are its owner's choice).

    Returns what tells this log from another that was made under the same name, and the number of its last message.
    Raises `LogUnavailable` where a stream would lose what we need.
    """
    from nats.js.api import StreamConfig

    if broker.client.max_payload < SMALLEST:
        raise LogUnavailable(f"the server takes {broker.client.max_payload} bytes a message: set max_payload to 1MB")
    log = StreamConfig(
        name=names.log, subjects=[names.all_entries], duplicate_window=DUPLICATES, deny_delete=True, deny_purge=True
    )
    found = await _make(broker, log)
    await _make(broker, StreamConfig(name=names.snapshots, subjects=[names.all_snapshots]))
    return hashlib.sha256(f"{names.log} {found.created}".encode()).hexdigest()[:12], found.state.last_seq


async def _make(broker: Broker, wanted: "StreamConfig") -> "StreamInfo":
    from nats.js.api import DiscardPolicy, StorageType, StoreCompression
    from nats.js.errors import NotFoundError

    jetstream = broker.jetstream

    async def there_or_made() -> "StreamInfo":
        try:
            return await jetstream.stream_info(str(wanted.name))
        except NotFoundError:
            kept = {"storage": StorageType.FILE, "discard": DiscardPolicy.NEW, "compression": StoreCompression.S2}
            return await jetstream.add_stream(wanted.evolve(num_replicas=1, max_consumers=CONSUMERS, **kept))

    info = await broker.ask(there_or_made())
    found = info.config
    limits = [name for name in ("max_msgs", "max_bytes", "max_age") if (getattr(found, name) or 0) > 0]
    if found.subjects != wanted.subjects:
        raise LogUnavailable(f"stream {wanted.name} holds {found.subjects}: another program uses that name")
    if (limits and found.discard != DiscardPolicy.NEW) or "max_age" in limits:
        raise LogUnavailable(f"stream {wanted.name} forgets what is old ({', '.join(limits)}): nothing may be lost")
    return info
