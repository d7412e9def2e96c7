"""The members of a room: joining them, reading all of them in one epoll loop, writing for those who speak."""

import contextlib
import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from load.dialects import Dialect
from load.frames import upgrade_request
from load.stream import CommonStream, Reader

SCRATCH: Final = 256 * 1024
SPIN: Final = 150e-6
"""Seconds before something is due during which the loop polls instead of sleeping: timers are not finer."""


@dataclass(slots=True, eq=False)
class Member:
    """One connection. `reader` is None for those whose bytes are thrown away unread (speakers, idle members)."""

    name: str
    role: str
    connection: socket.socket
    reader: Reader | None = None
    unsent: bytearray = field(default_factory=bytearray)
    state: str = "connecting"
    """Then `upgrading`, `joining`, `member`; `gone` once the hub has closed the connection."""
    last_words: bytes = b""
    """The beginning of what came last, for the message that says why nothing comes any more."""

    def send(self, wire: bytes) -> None:
        """Writes what the socket takes; the rest goes with the next call."""
        self.unsent += wire
        with contextlib.suppress(BlockingIOError):
            del self.unsent[: self.connection.send(self.unsent)]


class Crowd:
    """Everybody whom the generator plays, on one hub."""

    def __init__(self, dialect: Dialect, port: int, *, speakers: int = 0) -> None:
        self.dialect = dialect
        self.stream = CommonStream(dialect, speakers)
        self.receivers: list[Member] = []
        self.speakers: list[Member] = []
        self.arrivals: list[tuple[int, int, int, int]] = []
        """For each read: the time in ns, the receiver's offset before and after, and its file number."""
        self.gone: list[Member] = []
        self._port = port
        self._poll = select.epoll()
        self._by_number: dict[int, Member] = {}
        self._scratch = bytearray(SCRATCH)
        self._view = memoryview(self._scratch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._by_number.values():
            member.connection.close()
        self._poll.close()

    @property
    def number(self) -> int:
        """The file number by which another loop learns that somebody has something to read."""
        return self._poll.fileno()

    # --- joining -------------------------------------------------------------------------------------------------

    def seat_receivers(self, count: int, role: str = "observer", *, checked: bool = True) -> None:
        """Joins members who listen; those that are not `checked` are only drained."""
        first = len(self.receivers)
        names = [f"r{number:05d}" for number in range(first, first + count)]
        self.receivers += self._seat(names, role, checked=checked)

    def seat_speakers(self, count: int, role: str = "moderator") -> None:
        """Joins members who speak; what they get is drained, not checked."""
        self.speakers += self._seat([f"s{number:02d}" for number in range(count)], role, checked=False)

    def take_the_floor(self, limit: float = 10.0) -> list[int]:
        """Has a turn granted to every speaker, where the hub grants any; the turns in the order of the speakers.

        Call it while the room is quiet: a reader that begins now begins at the border of a unit.
        """
        turns: dict[str, int] = {}
        if not (opening := self.dialect.open_floor()):
            return [0] * len(self.speakers)
        for speaker in self.speakers:
            speaker.reader = Reader(self.stream.end, private=[])
        self._seat(["chair"], "moderator", checked=False)[0].send(opening)
        deadline = time.monotonic() + limit
        while len(turns) < len(self.speakers):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.dialect.name} granted {len(turns)} of {len(self.speakers)} turns")
            self.pump(time.monotonic() + 1)
            for speaker in self.speakers:
                turns |= self._turn_granted_to(speaker)
        self.settle()
        for speaker in self.speakers:
            speaker.reader = None
        return [turns[speaker.name] for speaker in self.speakers]

    def _turn_granted_to(self, speaker: Member) -> dict[str, int]:
        units = (speaker.reader.private if speaker.reader else None) or []
        found = [turn for unit in units if (turn := self.dialect.granted_turn(unit)) is not None]
        units.clear()
        return {speaker.name: found[-1]} if found else {}

    def _seat(self, names: list[str], role: str, *, checked: bool, at_once: int = 64) -> list[Member]:
        seated: list[Member] = []
        waiting = iter(names)
        under_way: list[Member] = []
        limit = time.monotonic() + 60
        while len(seated) < len(names):
            while len(under_way) < at_once and (name := next(waiting, None)):
                under_way.append(self._connect(name, role))
            self.pump(time.monotonic() + 1)
            seated += [member for member in under_way if member.state == "member"]
            under_way = [member for member in under_way if member.state != "member"]
            self._complain_about(under_way, limit)
        for member in seated:
            member.reader = member.reader if checked else None
        return seated

    def _connect(self, name: str, role: str) -> Member:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BlockingIOError):
            connection.connect(("127.0.0.1", self._port))
        member = Member(name, role, connection, Reader())
        self._by_number[connection.fileno()] = member
        self._poll.register(connection, select.EPOLLOUT)
        return member

    def _complain_about(self, under_way: Iterable[Member], limit: float) -> None:
        for member in under_way:
            if member.state == "gone" or time.monotonic() > limit:
                raise ConnectionError(
                    f"{self.dialect.name} did not let {member.name!r} in ({member.state}): {member.last_words!r}"
                )

    def _advance(self, member: Member, chunk: memoryview) -> None:
        """Takes one step of the way in: connected, upgraded, joined."""
        reader = member.reader
        assert reader is not None
        if member.state == "connecting":
            self._poll.modify(member.connection, select.EPOLLIN)
            member.state = "upgrading"
            member.send(upgrade_request("127.0.0.1", self._port, self.dialect.path))
            return
        held = reader.tail + bytes(chunk)
        reader.tail = b""
        if member.state == "upgrading":
            head, found, held = held.partition(b"\r\n\r\n")
            if not found:
                reader.tail = head
                return
            member.send(self.dialect.hello() + self.dialect.join(member.name, member.role))
            member.state = "joining" if self.dialect.welcomes else "member"
            reader.offset = self.stream.end
            reader.private = []
        self.stream.feed(reader, memoryview(held))
        self._look_for_welcome(member, reader)

    def _look_for_welcome(self, member: Member, reader: Reader) -> None:
        units = reader.private or []
        if member.state == "member" or any(self.dialect.is_welcome(unit) for unit in units):
            member.state = "member"
            reader.private = None

    # --- the loop ------------------------------------------------------------------------------------------------

    def pump(self, until: float) -> bool:
        """Reads from everybody who has something; waits for it until the monotonic time `until` at the latest."""
        ready = self._poll.poll(0)
        while not ready:
            left = until - time.monotonic()
            if left <= 0:
                return False
            if left > SPIN:
                select.select((self._poll,), (), (), left - SPIN)
            ready = self._poll.poll(0)
        for number, _ in ready:
            self._read(self._by_number[number])
        return True

    def _read(self, member: Member) -> None:
        if member.state == "connecting":
            self._advance(member, self._view[:0])
            return
        try:
            size = member.connection.recv_into(self._scratch)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._lose(member)
            return
        reader = member.reader
        if reader is None:
            member.last_words = bytes(self._view[: min(size, 300)])
        elif member.state != "member":
            member.last_words = bytes(self._view[: min(size, 300)])
            self._advance(member, self._view[:size])
        else:
            before = reader.offset
            self.stream.feed(reader, self._view[:size])
            if reader.offset != before:
                number = member.connection.fileno()
                self.arrivals.append((time.monotonic_ns(), before, reader.offset, number))
        if reader is not None and reader.answers:
            member.send(b"".join(reader.answers))
            reader.answers.clear()

    def _lose(self, member: Member) -> None:
        member.state = "gone"
        self._poll.unregister(member.connection)
        self.gone.append(member)

    def flush(self) -> None:
        """Writes what sockets did not take before."""
        for member in self.speakers:
            if member.unsent and member.state == "member":
                member.send(b"")

    # --- waiting ---------------------------------------------------------------------------------------------------

    def settle(self, quiet: float = 0.2, limit: float = 10.0) -> None:
        """Reads until nothing has come for `quiet` seconds."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline and self.pump(time.monotonic() + quiet):
            self.flush()

    def drain(self, sent: int, limit: float = 20.0, patience: float = 3.0) -> None:
        """Reads until everybody has all `sent` messages, or nothing has come for `patience` seconds."""
        begin = last = time.monotonic()
        while (now := time.monotonic()) < min(begin + limit, last + patience):
            if self.stream.count >= sent and self.behind() == 0:
                return
            self.flush()
            if self.pump(now + 0.05):
                last = now

    def behind(self) -> int:
        """How many receivers do not have (or have not the same as) what the first one got."""
        readers = [member.reader for member in self.receivers if member.reader is not None]
        return sum(reader.diverged or reader.offset != self.stream.end for reader in readers)

    def diverged(self) -> int:
        """How many receivers got something else than the first one did."""
        return sum(member.reader.diverged for member in self.receivers if member.reader is not None)

    def trim(self) -> None:
        """Lets the common stream forget what every receiver has."""
        self.stream.trim(min(member.reader.offset for member in self.receivers if member.reader))
