"""Clients and a hub in any order of events: joins, words, commands, lost and late connections, doubles (hypothesis)."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from palaver.core.limits import Limits
from palaver.core.message import AGENTS, Message, Role, key_of
from palaver.core.protocol import (
    Ack,
    Close,
    Command,
    FromMember,
    Grant,
    HubFrame,
    Join,
    Nack,
    Pass,
    Say,
    Welcome,
    decode_hub,
    encode,
)
from palaver.core.state import encode_state
from palaver.hub.host import Refused, RoomHost
from palaver.hub.hub import Hub
from palaver.hub.session import MESSAGE, NOTICE, Session
from palaver.hub.sqlite_log import SqliteLog

ROLES: dict[str, Role] = {"Ann": "moderator", "ANN": "moderator", "Bob": "model", "Cleo": "model", "Eve": "observer"}
NAMES = st.sampled_from(sorted(ROLES))
COMMANDS = st.sampled_from(
    [
        *("/pause", "/pause", "/resume", "/resume", "/step", "/mute Bob", "/unmute Bob", "/kick Cleo", "/slow 1"),
        *("/slow off", "/policy round_robin", "/policy open", "/policy simultaneous", "/floor Bob", "/stop Cleo"),
    ]
)


class Wire:
    """A transport that keeps the frames that were written to it."""

    def __init__(self) -> None:
        self.frames: list[HubFrame] = []

    def write(self, data: bytes) -> None:
        """Take whole websocket frames, as a hub writes them."""
        data, start = bytes(data), 0
        while start < len(data):
            size, body = data[start + 1], start + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, body = int.from_bytes(data[body : body + width], "big"), body + width
            if data[start] == 0x81:
                self.frames.append(decode_hub(data[body : body + size]))
            start = body + size

    def writelines(self, list_of_data: Iterable[bytes | memoryview]) -> None:
        """The same, in parts."""
        self.write(b"".join(list_of_data))

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> Any:
        return None


class Client:
    """Someone who outlives connections, as `participants/link.py` does: one secret, `after`, the same ids again."""

    def __init__(self, name: str) -> None:
        self.name, self.role, self.secret = name, ROLES[name], f"secret of {name}"
        self.session: Session | None = None
        self.old: list[Session] = []
        """Connections that are gone for the client, not yet for the hub."""
        self.wire = Wire()
        self.seen: list[Message] = []
        self.sent: dict[str, FromMember] = {}
        self.answers: dict[str, Ack | Nack] = {}
        self.turn: int | None = None

    def take(self) -> None:
        """Read what has come on the newest connection."""
        frames, self.wire.frames = self.wire.frames, []
        for frame in frames:
            match frame:
                case Message():
                    if not self.seen or frame.seq > self.seen[-1].seq:
                        self.seen.append(frame)
                    else:
                        raise AssertionError(f"{self.name} got {frame.seq} after {self.seen[-1].seq}")
                case Ack() | Nack():
                    self.answers[frame.id] = frame
                case Grant():
                    self.turn = frame.turn
                case Welcome():
                    self.turn = None


class Rooms(RuleBasedStateMachine):
    """Whatever happens: numbers without a gap, nothing twice, silence while paused, one seat for a name."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.log = SqliteLog(None)
        self.hub = Hub(log=self.log, archive=self.log, limits=Limits(frames=0), seed=lambda: 5)
        self.loop.run(self.hub.open())
        self.host: RoomHost = self.loop.run(self.hub.room("main"))
        self.clients = {name: Client(name) for name in ROLES}
        self.count = 0
        self.published: list[Message] = []

    def settle(self) -> None:
        """Let everything that was handed over be done."""

        async def wait() -> None:
            await self.log.read("main", self.host.state.applied)
            for _ in range(5):
                await asyncio.sleep(0)

        self.loop.run(wait())
        for client in self.clients.values():
            if client.session is not None and client.session.closed is not None:
                client.old.append(client.session)
                client.session = None
            client.take()

    def receive(self, client: Client, session: Session, frame: FromMember, times: int) -> None:
        """A frame of a client on one of its connections, perhaps more than once."""
        was_paused, before = self.host.state.floor.paused, self.host.state.seq
        resumes = isinstance(frame, Command) and frame.text in ("/resume", "/step")

        async def send() -> None:
            for _ in range(times):
                if session.closed is None:
                    self.hub.receive(self.host, session, encode(frame))

        self.loop.run(send())
        self.settle()
        if was_paused and not resumes:
            said = [one for one in self.host.state.history if one.seq > before and one.role in AGENTS]
            assert said == [], "an agent was heard while the room was paused"

    # --- what may happen -----------------------------------------------------------------------------------------

    @rule(name=NAMES, stranger=st.booleans())
    def join(self, name: str, stranger: bool) -> None:
        """A client connects (again); a stranger tries its name without its secret."""
        client = self.clients[name]
        taken = self.host.state.members.get(key_of(name))
        secret = "somebody else's" if stranger else client.secret
        wire, after = Wire(), client.seen[-1].seq if client.seen else 0
        join = Join(name=name, role=client.role, session=secret, after=after)
        session = Session(ident=secret, name=name, role=client.role, room="main", transport=wire, view=MESSAGE | NOTICE)

        async def knock() -> bool:
            try:
                await self.hub.join(session, join)
            except Refused as refused:
                assert refused.code in (Close.NAME_TAKEN, Close.BANNED)
                return False
            return True

        admitted = self.loop.run(knock())
        assert admitted == (taken is None or taken.session == secret)
        if admitted and stranger:  # it goes again at once
            self.leave(session)
        elif admitted:
            client.take()
            if client.session is not None:
                client.old.append(client.session)
            client.session, client.wire = session, wire
        self.settle()

    def leave(self, session: Session) -> None:
        """The hub notices the end of a connection."""

        async def gone() -> None:
            self.hub.leave(self.host, session, "connection lost")

        self.loop.run(gone())

    @rule(name=NAMES)
    def lose(self, name: str) -> None:
        """The client's connection breaks; the hub will notice later."""
        client = self.clients[name]
        if client.session is not None:
            client.take()
            client.old.append(client.session)
            client.session = None
            client.wire = Wire()

    @rule(name=NAMES)
    def notice_the_oldest(self, name: str) -> None:
        """The end of a connection that is long gone arrives."""
        if self.clients[name].old:
            self.leave(self.clients[name].old.pop(0))
            self.settle()

    @rule(name=NAMES, times=st.integers(1, 3), with_turn=st.booleans())
    def say(self, name: str, times: int, with_turn: bool) -> None:
        """New words, perhaps sent more than once; agents with the turn that they have, or without any."""
        client = self.clients[name]
        if client.session is None:
            return
        self.count += 1
        turn = client.turn if with_turn and client.role in AGENTS else None
        frame = Say(id=f"i{self.count}", content=f"{name} says {self.count}", turn=turn)
        client.sent[frame.id] = frame
        self.receive(client, client.session, frame, times)
        if client.session is not None:
            assert frame.id in client.answers, f"{frame} was not answered"

    @rule(name=NAMES, pick=st.integers(0, 1000))
    def say_again(self, name: str, pick: int) -> None:
        """Something that was sent before, on the newest connection."""
        client = self.clients[name]
        if client.session is not None and client.sent:
            self.receive(client, client.session, list(client.sent.values())[pick % len(client.sent)], 1)

    @rule(name=NAMES, pick=st.integers(0, 1000))
    def late_words(self, name: str, pick: int) -> None:
        """Something that was sent before, on a connection that is gone for the client."""
        client = self.clients[name]
        if client.old and client.sent:
            self.receive(client, client.old[-1], list(client.sent.values())[pick % len(client.sent)], 1)

    @rule(name=st.sampled_from(["Bob", "Cleo"]), failed=st.booleans())
    def pass_on(self, name: str, failed: bool) -> None:
        """A model gives its turn back."""
        client = self.clients[name]
        if client.session is not None and client.turn is not None:
            self.receive(client, client.session, Pass(turn=client.turn, failed=failed), 1)

    @precondition(lambda self: any(self.clients[name].session for name in ("Ann", "ANN")))
    @rule(text=COMMANDS, times=st.integers(1, 2))
    def command(self, text: str, times: int) -> None:
        """A moderator steers."""
        client = next(self.clients[name] for name in ("Ann", "ANN") if self.clients[name].session)
        assert client.session is not None
        self.count += 1
        frame = Command(id=f"c{self.count}", text=text)
        self.receive(client, client.session, frame, times)
        assert frame.id in client.answers

    # --- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def numbers_have_no_gap_and_nobody_gets_anything_twice(self) -> None:
        """Who has not lost its connection has all of the room, in its order."""
        for client in self.clients.values():
            seqs = [message.seq for message in client.seen]
            assert seqs == list(range(1, len(seqs) + 1))
            if client.session is not None:
                assert len(seqs) == self.host.state.seq, client.name
        texts = [message.content for message in self.host.state.history]
        assert len(texts) == len(set(texts)), "something was said twice"

    @invariant()
    def what_was_acknowledged_is_in_the_room(self) -> None:
        """Under the number that was told."""
        said = {message.seq: (message.sender, message.content) for message in self.host.state.history}
        for client in self.clients.values():
            for ident, answer in client.answers.items():
                if isinstance(answer, Ack) and answer.seq and isinstance(frame := client.sent.get(ident), Say):
                    assert said.get(answer.seq, (client.name, frame.content)) == (client.name, frame.content)

    @invariant()
    def a_name_is_one_seat(self) -> None:
        """Letter case does not count."""
        names = [key_of(session.name) for session in self.host.outbox.sessions.values()]
        assert len(names) == len(set(names))
        assert set(names) <= set(self.host.state.members)
        assert not (self.host.state.floor.paused and self.host.state.floor.grants)

    def teardown(self) -> None:
        """The log makes the same room again, the archive holds what was said."""

        async def reckon() -> tuple[bytes, list[Message]]:
            again = Hub(log=self.log, archive=self.log)
            state = await again._restored("main")
            return encode_state(state), await self.log.messages("main", 0, 10_000)

        self.settle()
        state, archived = self.loop.run(reckon())
        assert state == encode_state(self.host.state)
        assert [message.seq for message in archived] == list(range(1, self.host.state.seq + 1))
        kept = {message.seq: msgspec.json.encode(message) for message in archived}
        for message in self.host.state.history:
            assert kept[message.seq] == msgspec.json.encode(message)
        self.loop.run(self.hub.close())
        self.loop.close()


TestRooms = Rooms.TestCase
TestRooms.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
