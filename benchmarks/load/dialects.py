"""What the generator must know of each hub: how to join, how to say something, and where one unit ends.

A *stamp*, `<sender:counter:nanoseconds>`, is the content of every message, so that whoever gets it can tell whose it
is, whether one is missing, and how old it is. What carries no stamp (presence, acknowledgements, pings) is no delivery.
"""

import json
import re
from typing import Final

from load.frames import BINARY, PING, PONG, frame_at, masked

STAMP: Final = re.compile(rb"<(\d\d):(\d{8}):(\d{19})>")
STAMP_SIZE: Final = 33


def stamp(sender: int, counter: int, at: int) -> bytes:
    """`at` is on the monotonic clock, in nanoseconds."""
    return b"<%02d:%08d:%019d>" % (sender, counter, at)


class Dialect:
    """A hub that passes text frames on as they are, and knows no join: the bare broadcast hub."""

    name = "broadcast"
    path = "/"
    room = "main"
    """Where members join, for hubs that have rooms."""
    framed_twice = False
    """Whether the hub's units lie inside websocket frames whose borders mean nothing (NATS)."""
    welcomes = False
    """Whether the hub answers a join."""
    overhead = 0
    """Bytes that a delivered unit has besides the content."""
    sequence: re.Pattern[bytes] | None = None
    """Finds the hub's own number in a delivery, which must rise by one."""

    def __init__(self, unit_size: int = 310) -> None:
        """`unit_size` is the size of a delivery in bytes, as near as padding can bring it."""
        self.padding = b"." * max(0, unit_size - self.overhead - STAMP_SIZE)

    def hello(self) -> bytes:
        """What a client says before anything else, once the websocket is open."""
        return b""

    def join(self, name: str, role: str) -> bytes:
        """The frames that ask for a seat; empty where being connected is enough."""
        return b""

    def is_welcome(self, unit: bytes) -> bool:
        """Whether the hub says in `unit` that the client is now a member."""
        return False

    def message(self, sender: int, counter: int, at: int) -> bytes:
        """A frame that says one stamped message."""
        return masked(stamp(sender, counter, at) + self.padding)

    def delta(self, turn: int, sender: int, counter: int, at: int) -> bytes:
        """The next 48 bytes of a token stream; a message like any other where the hub knows nothing better."""
        return self.message(sender, counter, at)

    def open_floor(self) -> bytes:
        """What a moderator says so that every speaker is granted a turn; empty where nobody needs one."""
        return b""

    def granted_turn(self, unit: bytes) -> int | None:
        """The turn that `unit` grants to its reader."""
        return None

    def unit_at(self, data: bytes, start: int) -> int | None:
        """Where the unit that begins at `start` ends; None while it is incomplete."""
        frame = frame_at(data, start)
        return frame[1] if frame else None

    def answer(self, unit: bytes) -> bytes:
        """What a member must send back, e.g. a pong; mostly nothing."""
        if unit[0] != PING:
            return b""
        frame = frame_at(unit, 0)
        return masked(unit[frame[0] :], PONG) if frame else b""


class SendLoop(Dialect):
    """The registration and the messages of LLM Party Chat."""

    name = "seed"
    overhead = 92

    def join(self, name: str, role: str) -> bytes:
        return masked(json.dumps({"name": name, "type": "model"}).encode())

    def message(self, sender: int, counter: int, at: int) -> bytes:
        return masked(b'{"type":"message","content":"%b%b"}' % (stamp(sender, counter, at), self.padding))


class Palaver(Dialect):
    """Palaver's own wire (`docs/protocol.md`)."""

    name = "palaver"
    welcomes = True
    overhead = 225
    sequence = re.compile(rb'"seq":(\d+)')
    _turn = re.compile(rb'"type":"grant".*?"turn":(\d+)')

    def join(self, name: str, role: str) -> bytes:
        return masked(json.dumps({"type": "join", "name": name, "role": role, "room": self.room}).encode())

    def is_welcome(self, unit: bytes) -> bool:
        return b'"welcome"' in unit

    def message(self, sender: int, counter: int, at: int) -> bytes:
        said = stamp(sender, counter, at)
        return masked(b'{"type":"message","id":"%02d.%d","content":"%b%b"}' % (sender, counter, said, self.padding))

    def delta(self, turn: int, sender: int, counter: int, at: int) -> bytes:
        said = stamp(sender, counter, at)
        return masked(b'{"type":"delta","turn":%d,"text":"%b%b"}' % (turn, said, b"." * (48 - STAMP_SIZE)))

    def open_floor(self) -> bytes:
        policy = {"type": "command", "id": "policy", "text": "/policy open max_in_a_row=0"}
        question = {"type": "message", "id": "question", "content": "What do you all think?"}
        return masked(json.dumps(policy).encode()) + masked(json.dumps(question).encode())

    def granted_turn(self, unit: bytes) -> int | None:
        found = self._turn.search(unit)
        return int(found[1]) if found else None


class Nats(Dialect):
    """The NATS protocol over nats-server's websocket listener."""

    name = "nats"
    room = "room"
    framed_twice = True
    welcomes = True
    overhead = 18

    def hello(self) -> bytes:
        return masked(b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\n', BINARY)

    def join(self, name: str, role: str) -> bytes:
        return masked(b"SUB %b 1\r\nPING\r\n" % self.room.encode(), BINARY)

    def is_welcome(self, unit: bytes) -> bool:
        return unit == b"PONG\r\n"

    def message(self, sender: int, counter: int, at: int) -> bytes:
        content = stamp(sender, counter, at) + self.padding
        return masked(b"PUB %b %d\r\n%b\r\n" % (self.room.encode(), len(content), content), BINARY)

    def unit_at(self, data: bytes, start: int) -> int | None:
        line = data.find(b"\r\n", start)
        if line < 0:
            return None
        end = line + 2
        if data.startswith(b"MSG ", start):
            end += int(data[data.rindex(b" ", start, line) : line]) + 2
        return end if end <= len(data) else None

    def answer(self, unit: bytes) -> bytes:
        return masked(b"PONG\r\n", BINARY) if unit == b"PING\r\n" else b""
