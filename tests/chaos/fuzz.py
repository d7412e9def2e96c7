"""Bad frames through a hub: its functions directly, or a real socket. Counts what was refused, collects what broke."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from palaver.core.errors import ProtocolError
from palaver.core.limits import Limits
from palaver.core.message import Role
from palaver.core.protocol import Close, Join, decode_hub, decode_join, decode_member
from palaver.core.state import encode_state
from palaver.hub.host import Refused, RoomHost
from palaver.hub.hub import Hub
from palaver.hub.legacy import decode_registration, decode_words
from palaver.hub.session import DELTA, MESSAGE, NOTICE, Session
from palaver.hub.sqlite_log import SqliteLog

ROOM_FOR: Final = 10_000
"""Frames after which another room begins, so that what a frame does is not what the room's age does."""
BATCH: Final = 50
MEMBERS: Final[dict[str, Role]] = {"Ann": "moderator", "Zen Sage": "model", "Eve": "observer", "Old": "moderator"}
EXPLAINED: Final = frozenset(Close) | {1000, 1009}
"""Codes that may end a connection: those of the table, a goodbye that was asked for, and a frame that is too long."""


@dataclass
class Findings:
    """What became of the frames."""

    frames: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """By the words of the refusal, as far as they are the same for all."""
    closed: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    """Exceptions, errors that the hub logged, closes without a reason."""


class Complaints(logging.Handler):
    """Collects what the hub logs as an error: it catches its own mistakes, and says so there."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(logging.ERROR)
        self._findings = findings

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self._findings.broken.append(self.format(record))

    def __enter__(self) -> Self:
        logging.getLogger("palaver").addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger("palaver").removeHandler(self)


def decode(raw: bytes, findings: Findings) -> None:
    """Through every decoder: each takes it, or says what does not fit."""
    for name, decoder in (("member", decode_member), ("join", decode_join), ("hub", decode_hub)):
        _tried(name, decoder, raw, findings)
    _tried("legacy words", lambda one: decode_words(one, "Old"), raw, findings)
    _tried("legacy registration", decode_registration, raw, findings)


def _tried(name: str, decoder: Any, raw: bytes, findings: Findings) -> None:
    try:
        decoder(raw)
    except ProtocolError as error:
        if name == "member":
            findings.refused[reason_of(str(error))] += 1
    except Exception as error:
        findings.broken.append(f"decode {name}: {error!r} for {raw[:300]!r}")


def reason_of(text: str) -> str:
    """A refusal without what is particular to it."""
    text = text.partition(": ")[2] or text
    for mark in (" - at", " (byte", "'", "`", ", got", " <=", " >=", " of length", "enum value"):
        text = text.partition(mark)[0] or text
    return text.strip()[:50]


# --- through the hub's functions -------------------------------------------------------------------------------------


class _Nowhere:
    """A transport whose peer takes everything."""

    def write(self, data: bytes) -> None: ...
    def writelines(self, list_of_data: Iterable[bytes | memoryview]) -> None: ...
    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> Any:
        return None


async def through_hub(raws: Iterable[bytes], findings: Findings) -> None:
    """Every frame from one of four members; then the log must make the same rooms again."""
    log = SqliteLog(None)
    hub = Hub(log=log, archive=log, limits=Limits(frames=0), max_rooms=10_000)
    with Complaints(findings):
        await hub.open()
        seats: list[tuple[RoomHost, Session]] = []
        for number, raw in enumerate(raws):
            if number % BATCH == 0:
                await asyncio.sleep(0)
                await hub.flow()
                seats = await _seated(hub, seats, f"r{number // ROOM_FOR}", findings)
            findings.frames += 1
            host, session = seats[number % len(seats)]
            _received(hub, host, session, raw, findings)
        await _same_again(hub, log, findings)
        await hub.close()


def _received(hub: Hub, host: RoomHost, session: Session, raw: bytes, findings: Findings) -> None:
    if session.closed is not None:
        return
    try:
        if hub.receive(host, session, raw) is not None:
            session.closed = (Close.GOING_AWAY, "left")
    except Exception as error:
        findings.broken.append(f"receive from {session.name}: {error!r} for {raw[:300]!r}")
    with suppress(ProtocolError):
        findings.taken[type(decode_member(raw)).__name__] += 1


async def _seated(
    hub: Hub, seats: list[tuple[RoomHost, Session]], room: str, findings: Findings
) -> list[tuple[RoomHost, Session]]:
    """Those who still sit in the room, and for the others a new seat: there or, where they may not, in another room."""
    kept = [(host, one) for host, one in seats if one.closed is None and one.room.startswith(f"{room}.")]
    for host, session in seats:
        if (host, session) not in kept:
            findings.closed[session.closed[0].name if session.closed else "next room"] += 1
            hub.leave(host, session, "gone")
    here = {session.name for _, session in kept}
    for name in MEMBERS:
        if name not in here:
            kept.append(await _join(hub, name, room))
    return kept


async def _join(hub: Hub, name: str, room: str) -> tuple[RoomHost, Session]:
    for number in range(1000):
        join = Join(name=name, role=MEMBERS[name], room=f"{room}.{number}")
        session = Session(
            ident=f"{name} {join.room}",
            name=name,
            role=join.role,
            room=join.room,
            transport=_Nowhere(),
            view=MESSAGE | NOTICE | DELTA,
            legacy=name == "Old",
        )
        with suppress(Refused):  # banned there, or the room has ended
            host = await hub.join(session, join)
            if not host.state.ended:
                return host, session
            hub.leave(host, session, "over")
    raise AssertionError(f"{name} gets into no room")


async def _same_again(hub: Hub, log: SqliteLog, findings: Findings) -> None:
    again = Hub(log=log, archive=log, max_rooms=10_000)
    for name, host in hub.rooms.items():
        await log.read(name, host.state.applied)  # all that was handed over has been taken
        await asyncio.sleep(0)
        state = await again._restored(name)
        if encode_state(state) != encode_state(host.state):
            findings.broken.append(f"room {name} is not the same when it is made again from its log")


# --- through a socket ------------------------------------------------------------------------------------------------


async def through_socket(url: str, raws: Iterable[bytes], findings: Findings, *, name: str = "Ann") -> None:
    """Every frame over real connections, every twentieth as the first one; each end must have said why."""
    connection: ClientConnection | None = None
    for number, raw in enumerate(raws):
        findings.frames += 1
        if number % 20 == 0:
            await _as_first(url, raw, findings)
        if connection is None:
            connection = await _member(url, name, f"s{number // 2000}")
        try:
            await _sent(connection, raw)
            if number % 10 == 9:  # wait until all before it were read
                await connection.send(json.dumps({"type": "message", "id": f"echo {number}", "content": " "}))
                while json.loads(await connection.recv()).get("id") != f"echo {number}":
                    pass
            continue
        except ConnectionClosed as closed:
            _note(closed, raw, findings)
        connection = None
    if connection is not None:
        await connection.close()


async def _sent(connection: ClientConnection, raw: bytes) -> None:
    """As text where it is text."""
    try:
        await connection.send(raw.decode())
    except UnicodeDecodeError:
        await connection.send(raw)


async def _member(url: str, name: str, room: str) -> ClientConnection:
    for number in range(1000):
        connection = await connect(url, proxy=None, max_size=None)
        await connection.send(
            json.dumps({"type": "join", "name": name, "role": "moderator", "room": f"{room}.{number}"})
        )
        first = json.loads(await connection.recv())
        if first["type"] == "welcome":
            return connection
        await connection.wait_closed()
    raise AssertionError(f"{name} gets into no room")


async def _as_first(url: str, raw: bytes, findings: Findings) -> None:
    async with connect(url, proxy=None, max_size=None) as connection:
        last: dict[str, Any] = {}
        try:
            await _sent(connection, raw)
            async with asyncio.timeout(10):
                last = json.loads(await connection.recv())
                if last["type"] == "welcome" or raw.startswith(b'{"name"'):
                    findings.closed["welcome"] += 1
                    return
                await connection.recv()
        except ConnectionClosed as closed:
            _note(closed, raw, findings, said=str(last.get("reason") or last.get("content") or ""))
        except TimeoutError:
            findings.broken.append(f"no answer to the first frame {raw[:300]!r}")


def _note(closed: ConnectionClosed, raw: bytes, findings: Findings, *, said: str = "") -> None:
    code = closed.rcvd.code if closed.rcvd else 1006
    name = Close(code).name if code in list(Close) else str(code)
    findings.closed[name] += 1
    if code not in EXPLAINED or not (said or (closed.rcvd and closed.rcvd.reason) or code in (1000, 1009)):
        findings.broken.append(f"closed with {code} and no reason after {raw[:300]!r}")
