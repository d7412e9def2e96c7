"""A room for tests: entries made by name, effects read back in the order they came."""

from collections.abc import Iterator
from typing import Any

from palaver.core import floor, notices, room
from palaver.core.due import deadlines
from palaver.core.effects import Acknowledge, Announce, Disconnect, Effect, Entrust, Publish, Reply
from palaver.core.entry import Elapsed, Entry, HubStarted, Joined, Left, Logged
from palaver.core.message import AGENTS, Message, Role, key_of
from palaver.core.protocol import Ack, Cancelled, Command, Event, FloorRequest, HubFrame, Nack, Pass, Say, Status
from palaver.core.state import RoomState, encode_state

START = 1_700_000_000.0


class World:
    """One room, a clock that only the test moves, and everything that ever came out."""

    def __init__(self, state: RoomState | None = None) -> None:
        self.state = state or RoomState(name="main")
        self.now = START
        self.log: list[Entry] = []
        self.effects: list[Effect] = []
        self.connections: dict[str, str] = {}
        self.roles: dict[str, Role] = {}

    # --- what happens ------------------------------------------------------------------------------------------------

    def put(self, name: str, frame: Logged, *, role: Role | None = None, session: str | None = None) -> list[Effect]:
        """One entry; the effects come back."""
        entry = Entry(
            id=f"e{len(self.log) + 1}",
            room="main",
            session=f"s-{key_of(name)}" if session is None else session,
            name=name,
            role=role or self.roles.get(key_of(name), "observer"),
            time=self.now,
            frame=frame,
        )
        self.log.append(entry)
        effects = room.apply(self.state, entry)
        self.effects += effects
        return effects

    def join(self, *names: str, role: Role = "model", ready: bool = True, session: str | None = None) -> None:
        """Take seats."""
        for name in names:
            self.roles[key_of(name)] = role
            self.put(name, Joined(hub="h", ready=ready, seed=7), session=session)
            if (member := self.state.members.get(key_of(name))) is not None:
                self.connections[key_of(name)] = member.connection

    def leave(self, name: str) -> list[Effect]:
        """The connection ends."""
        return self.put(name, Left(connection=self.connections[key_of(name)], reason="gone"))

    def say(self, name: str, content: str = "hello", **fields: Any) -> list[Effect]:
        """Say something, under the open grant if there is one."""
        fields.setdefault("turn", self.turn_of(name))
        return self.put(name, Say(content=content, **fields))

    def pass_turn(self, name: str, **fields: Any) -> list[Effect]:
        """Give the floor back."""
        return self.put(name, Pass(turn=self.turn_of(name) or 0, **fields))

    def raise_hand(self, name: str, urgency: float = 0.0) -> list[Effect]:
        """Ask for the floor."""
        return self.put(name, FloorRequest(urgency=urgency))

    def status(self, name: str, state: Any) -> list[Effect]:
        """Loading or ready."""
        return self.put(name, Status(state=state))

    def cancelled(self, name: str, turn: int) -> list[Effect]:
        """The client has stopped generating."""
        return self.put(name, Cancelled(turn=turn, latency=0.05, tokens=3))

    def command(self, text: str, *, by: str = "Mod", ident: str | None = None) -> Ack | Nack:
        """Give a command; its answer comes back."""
        ident = ident if ident is not None else f"c{len(self.log)}"
        answer = [
            frame
            for frame in replied(self.put(by, Command(id=ident, text=text)))
            if isinstance(frame, Ack | Nack) and frame.id == ident
        ]
        return answer[-1]

    def do(self, text: str) -> dict[str, Any] | None:
        """A command that must be taken; what changed comes back."""
        answer = self.command(text)
        assert isinstance(answer, Ack), answer
        return dict(answer.changed) if answer.changed is not None else None

    def refused(self, text: str) -> str:
        """A command that must be refused without having changed anything; the reason comes back."""
        self.state.now = max(self.state.now, self.now)
        before = self.snapshot()
        answer = self.command(text)
        assert isinstance(answer, Nack), answer
        assert self.snapshot() == before, f"{text} was refused, and yet it changed the room"
        return answer.reason

    def wait(self, seconds: float) -> None:
        """Let time pass; every deadline that falls due is proposed, as a hub does."""
        until = self.now + seconds
        while due := sorted(item for item in deadlines(self.state) if item[0] <= until):
            self.now = max(self.now, due[0][0])
            self.put("hub", Elapsed(key=due[0][1]), session="")
        self.now = until

    def restart(self) -> None:
        """The hub begins a new life."""
        self.put("hub", HubStarted(hub="h"), session="")

    def take_turns(self, most: int = 50) -> list[str]:
        """Let whoever has the floor speak, the lowest turn first, until nobody has it; who spoke, in order."""
        spoke: list[str] = []
        while (holders := self.holders()) and len(spoke) < most:
            spoke.append(holders[0])
            self.say(holders[0], f"words number {len(self.log)} of {holders[0]}")
        return spoke

    # --- what it came to ---------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The state as bytes, without what every entry may move."""
        return encode_state(self.state)

    def turn_of(self, name: str) -> int | None:
        """The number of an open grant."""
        given = self.state.floor.grants.get(key_of(name))
        return given.turn if given else None

    def holders(self) -> list[str]:
        """Who has the floor, the oldest grant first."""
        return [given.name for given in sorted(self.state.floor.grants.values(), key=lambda given: given.turn)]

    def messages(self) -> list[Message]:
        """Everything published, in order."""
        return [effect.message for effect in self.effects if isinstance(effect, Publish)]

    def said(self) -> list[str]:
        """Who spoke, in order."""
        return [message.sender for message in self.messages()]

    def events(self, kind: str) -> list[Event]:
        """Events of one kind."""
        return [frame for frame in announced(self.effects) if isinstance(frame, Event) and frame.kind == kind]

    def notices(self, code: str) -> list[HubFrame]:
        """Notices under one code."""
        return [frame for frame in announced(self.effects) if getattr(frame, "code", "") == code]

    def nacks(self) -> list[str]:
        """Codes of all refusals."""
        return [frame.code for frame in replied(self.effects) if isinstance(frame, Nack)]


def announced(effects: list[Effect]) -> Iterator[HubFrame]:
    """Frames for many."""
    return (effect.frame for effect in effects if isinstance(effect, Announce))


def replied(effects: list[Effect]) -> Iterator[HubFrame]:
    """Frames for one, those included that a hub makes; they are of no room and no time."""
    nowhere = RoomState(name="")
    for effect in effects:
        match effect:
            case Reply(_, frame):
                yield frame
            case Publish(message, session) if session:
                yield notices.placed(message)
            case Acknowledge(_, ident, seq):
                yield notices.ack(nowhere, ident, seq)
            case Entrust(_, given):
                yield floor.grant_frame(nowhere, given)


def published(effects: list[Effect]) -> list[Message]:
    """Messages that got their place."""
    return [effect.message for effect in effects if isinstance(effect, Publish)]


def disconnected(effects: list[Effect]) -> list[Disconnect]:
    """Sessions that must go."""
    return [effect for effect in effects if isinstance(effect, Disconnect)]


def agents(world: World) -> list[str]:
    """Agents that are here."""
    return [member.name for member in world.state.members.values() if member.role in AGENTS]


def room_of(*models: str, policy: str = "", people: tuple[str, ...] = ("Mod",)) -> World:
    """A room with moderators and models, and a policy."""
    world = World()
    world.join(*people, role="moderator")
    world.join(*models)
    if policy:
        answer = world.command(f"/policy {policy}")
        assert isinstance(answer, Ack), answer
    return world
