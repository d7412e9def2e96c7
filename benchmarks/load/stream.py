"""What every receiver must get, byte by byte: the check that nothing was lost, doubled or reordered.

All receivers of a room see the same deliveries in the same order. Whoever is ahead extends the common stream, there
every delivery is parsed and counted once; all others are compared with it at the speed of memcmp. A receiver whose
bytes differ is parsed unit by unit: what carries no stamp is private (a ping, an acknowledgement) and is left out.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from load.dialects import STAMP, Dialect
from load.frames import frame_at

KEEP: Final = 64 * 1024 * 1024
"""Bytes of the common stream that are kept for those who are behind."""


@dataclass(slots=True)
class Reader:
    """How far one receiver is, and what it has that is not a whole unit yet."""

    offset: int = 0
    tail: bytes = b""
    half_frame: bytes = b""
    """The beginning of a websocket frame, where units lie inside frames."""
    diverged: bool = False
    answers: list[bytes] = field(default_factory=list)
    private: list[bytes] | None = None
    """Units without a stamp are collected here where somebody wants them."""


class CommonStream:
    """The deliveries in the order of the room. Offsets count from the first byte ever delivered."""

    def __init__(self, dialect: Dialect, senders: int) -> None:
        self._dialect = dialect
        self._bytes = bytearray()
        self._begin = 0
        self._next = [0] * senders
        self._sequence: int | None = None
        self.ends: list[int] = []
        """Where each delivery ends."""
        self.sent_at: list[int] = []
        self.arrived: list[int] = []
        """The senders of what was delivered since somebody last emptied this list."""
        self.count = 0
        self.gaps = 0
        self.duplicates = 0

    @property
    def end(self) -> int:
        return self._begin + len(self._bytes)

    def feed(self, reader: Reader, chunk: memoryview) -> None:
        """Takes in the next bytes of one receiver's connection; whoever has diverged once is read no more."""
        if reader.diverged:
            return
        if not self._dialect.framed_twice:
            self._follow(reader, chunk)
            return
        held = reader.half_frame + bytes(chunk)
        position = 0
        while frame := frame_at(held, position):
            self._follow(reader, memoryview(held)[frame[0] : frame[1]])
            position = frame[1]
        reader.half_frame = held[position:]

    def _follow(self, reader: Reader, chunk: memoryview) -> None:
        self._absorb_tail(reader)
        if not reader.tail:
            start = reader.offset - self._begin
            known = min(len(self._bytes) - start, len(chunk))
            if known and self._bytes.startswith(chunk[:known], start):
                reader.offset += known
                chunk = chunk[known:]
        if chunk:
            self._parse(reader, bytes(chunk))

    def _parse(self, reader: Reader, chunk: bytes) -> None:
        data = self._back_to_border(reader) + reader.tail + chunk
        position = 0
        while (end := self._dialect.unit_at(data, position)) is not None:
            self._take(reader, data[position:end])
            position = end
        reader.tail = data[position:]
        self._absorb_tail(reader)

    def _absorb_tail(self, reader: Reader) -> None:
        """Half a unit counts as read as soon as it is known to be the common stream's."""
        if reader.tail and self._bytes.startswith(reader.tail, reader.offset - self._begin):
            reader.offset += len(reader.tail)
            reader.tail = b""

    def _back_to_border(self, reader: Reader) -> bytes:
        """Gives back what was compared of a unit that turns out to be another one than the common stream has."""
        if reader.offset == self.end or reader.tail:
            return b""
        index = bisect_right(self.ends, reader.offset)
        border = self.ends[index - 1] if index else self._begin
        begun = bytes(self._bytes[border - self._begin : reader.offset - self._begin])
        reader.offset = border
        return begun

    def _take(self, reader: Reader, unit: bytes) -> None:
        stamps = STAMP.findall(unit)
        if not stamps:
            if answer := self._dialect.answer(unit):
                reader.answers.append(answer)
            if reader.private is not None:
                reader.private.append(unit)
        elif reader.offset == self.end:
            self._extend(unit, stamps)
            reader.offset = self.end
        elif self._bytes.startswith(unit, reader.offset - self._begin):
            reader.offset += len(unit)
        else:
            reader.diverged = True

    def _extend(self, unit: bytes, stamps: list[tuple[bytes, bytes, bytes]]) -> None:
        self._bytes += unit
        for sender_digits, counter_digits, sent_at in stamps:
            sender, counter = int(sender_digits), int(counter_digits)
            missing = counter - self._next[sender]
            if missing >= 0:
                self.gaps += missing
                self._next[sender] = counter + 1
            else:
                self.duplicates += 1
            self.ends.append(self.end)
            self.sent_at.append(int(sent_at))
            self.arrived.append(sender)
        self.count += len(stamps)
        if self._dialect.sequence and (found := self._dialect.sequence.search(unit)):
            self._check_sequence(int(found[1]))

    def _check_sequence(self, number: int) -> None:
        if self._sequence is not None and number != self._sequence + 1:
            self.gaps += 1
        self._sequence = number

    def trim(self, slowest: int) -> None:
        """Forgets what everybody has, once there is much of it; `slowest` is the smallest offset."""
        if slowest - self._begin > KEEP:
            del self._bytes[: slowest - self._begin]
            self._begin = slowest

    def forget_times(self) -> None:
        """Drops the borders and times of what was delivered; call only while nothing is on its way."""
        del self._bytes[:]
        self._begin = self.ends[-1] if self.ends else self._begin
        self.ends.clear()
        self.sent_at.clear()
        self.arrived.clear()
