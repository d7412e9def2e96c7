"""A conversation as its director sees it: who is here, who has acted in this turn, and what was done so far."""

from collections.abc import Sequence

from palaver.core.message import AGENTS, Message, key_of, same_name
from palaver.core.protocol import Event, FloorView, Presence, System, Welcome
from palaver.evaluation.panel import Scored
from palaver.evaluation.plugin import ENVIRONMENT, TURN
from palaver.evaluation.rule_based import LEFT
from palaver.participants.link import LinkDown, Received
from palaver.participants.view import RoomView
from palaver.scenes.actions import UnreadableAction, read
from palaver.scenes.personas import background
from palaver.scenes.progress import Progress
from palaver.scenes.scene import Scene
from palaver.scenes.silences import Silences


class Watch:
    """Takes in what the hub sends; decides nothing."""

    def __init__(self, scene: Scene, own_name: str, so_far: Progress) -> None:
        self.scene = scene
        self.room = RoomView()
        self.messages: list[Message] = []
        self.acted: list[str] = []
        """Keys of who has acted since the last turn ended; a pass is an action too."""
        self.heard = 0
        """How many of these actions were messages of agents: so many steps were used."""
        self.passed: list[str] = []
        """Keys of those who passed in this turn."""
        self.silences = Silences(so_far.silences)
        self.ended = ""
        """Why the conversation was ended by somebody else."""
        self.failure = ""
        self._own = own_name
        self._gone: set[str] = set(so_far.gone)
        self._told: list[tuple[str, str]] = []
        """Each message as evaluators read it."""
        self._names = {key_of(agent.name): agent.name for agent in scene.agents}
        self._people = {key_of(agent.name) for agent in scene.agents if agent.model is None}
        self._turns: list[int] = list(so_far.begun)
        """`seq` of the last message before each turn."""
        self._since = so_far.seq
        """`seq` of the last message of the turn before."""
        self._last = ""
        """Key of the one whose turn was the last."""
        self._past: int | None = None
        """`seq` of the room's last message when it was joined."""
        for key in so_far.passed:
            self._pass(key)

    def progress(self, turns: int, scores: Sequence[Scored], why: str = "") -> Progress:
        """How far it has come, after so many turns."""
        return Progress(
            turns=turns,
            seq=self._since,
            begun=self._turns[:turns],
            gone=sorted(self._gone),
            passed=tuple(self.passed),
            scores=scores,
            silences=self.silences.kept(),
            why=why,
        )

    @property
    def knows_the_past(self) -> bool:
        """Whether all that was said before it came has arrived."""
        return self._past is not None and self.room.last_seq >= self._past

    @property
    def epoch(self) -> int:
        """The floor's epoch, as last told."""
        return self.room.floor.epoch if self.room.floor is not None else 0

    @property
    def is_held(self) -> bool:
        """Whether a moderator has paused the room; between turns it is paused in any case."""
        return self.room.floor is not None and any(not same_name(by, self._own) for by in self.room.floor.paused_by)

    @property
    def is_paused(self) -> bool:
        """Whether the room is, as last told."""
        return self.room.floor is not None and self.room.floor.paused

    def has(self, name: str) -> bool:
        """Whether this one sits in the room."""
        return key_of(name) in self.room.seats

    def leave(self, name: str) -> None:
        """This one takes no more part, whether or not it still sits in the room."""
        self._gone.add(key_of(name))

    def present(self) -> list[str]:
        """Names of the agents that take part. A model that lost its connection still does: it comes back."""
        return [name for key, name in self._names.items() if key not in self._gone and self._may_act(key)]

    def here(self) -> list[str]:
        """Keys of the agents that may act now: those that take part and are not muted."""
        muted = {key_of(name) for name in self.room.floor.muted} if self.room.floor is not None else set()
        return [key for key in map(key_of, self.present()) if key not in muted]

    def _may_act(self, key: str) -> bool:
        return key not in self._people or key in self.room.seats

    def on_the_floor(self) -> list[str]:
        """Keys of those here who act only when granted the floor: models, and people who joined as `user_sim`."""
        return [key for key in self.here() if key not in self._people or self.room.seats[key].role in AGENTS]

    def waiting(self, *, one: bool) -> list[str]:
        """Keys of those who need the floor before this turn is over; at most one where `one` acts in each turn."""
        floor = self.on_the_floor()
        if one:
            return [] if self.heard or self.passed or self._due() else floor[:1]
        return [key for key in floor if key not in self.acted]

    def turn_is_over(self, *, one: bool) -> bool:
        """Whether all have acted who are here and may, or the one has whose turn it was."""
        if one and (due := self._due()):
            return due in self.acted
        if one and self.on_the_floor():
            return bool(self.heard or self.passed)
        return bool(self.acted) if one else set(self.here()) <= set(self.acted)

    def _due(self) -> str:
        """Key of a person whose turn it is, and who takes it without the floor; empty where the floor decides."""
        floor, here = self.on_the_floor(), self.here()
        if self.scene.order != "round-robin" or not floor:
            return ""
        order = [key_of(name) for name in self.scene.in_order()]
        place = order.index(self._last) + 1 if self._last in order else 0
        turn = next(key for key in [*order[place:], *order[:place]] if key in here)
        return "" if turn in floor else turn

    def begin_turn(self) -> None:
        """What comes now belongs to the next turn."""
        self._turns.append(self._since)

    def end_turn(self) -> None:
        """Nobody has acted yet."""
        if self._turns:
            took_it = [key for key in self.acted if key in self.on_the_floor()]
            self._last = self._due() or next(reversed(took_it), self._last)
        self.acted, self.heard, self.passed = [], 0, []
        self._since = self.room.last_seq

    def done(self) -> list[tuple[str, str]]:
        """What was done, for evaluators: the background first, `Turn #n` before each turn; nothing redacted."""
        done = [(ENVIRONMENT, background(self.scene))]
        turn = 0
        for message, told in zip(self.messages, self._told, strict=True):
            while turn < len(self._turns) and message.seq > self._turns[turn]:
                turn += 1
                done.append((ENVIRONMENT, f"{TURN}{turn}"))
            if message.to is None and message.redacted is None:
                done.append(told)
        return done

    def _tell(self, message: Message) -> tuple[str, str]:
        if (name := self._names.get(key_of(message.sender))) is None:
            return ENVIRONMENT, f"{message.sender}: {message.content}"
        try:
            return name, read(message.content).text
        except UnreadableAction:  # a person may write anything
            return name, f'said: "{message.content}"'

    # --- taking in ----------------------------------------------------------------------------------------------------

    def take(self, received: Received) -> None:
        """See what a frame changes."""
        if isinstance(received, LinkDown):
            return
        self.room.take(received)
        match received:
            case Message():
                self._hear(received)
            case Welcome() | FloorView():
                self._see_floor(received)
            case Event(kind="pass", actor=actor) if key_of(actor) in map(key_of, self.present()):
                self._pass(key_of(actor))
            case Event(kind="redaction"):
                self._redact(received)
            case Event(kind="ended", actor=actor, text=text) if not same_name(actor, self._own):
                self.ended = f"ended by {actor}: {text}"
            case System(code="model_failed"):
                self.failure = self.failure or received.content
            case Presence(state="away", name=name):
                self._away(key_of(name))

    def _hear(self, message: Message) -> None:
        self.messages.append(message)
        self._told.append(self._tell(message))
        if message.to is not None or key_of(message.sender) not in self._names:
            return
        if message.seq > self._since:
            self.acted.append(key_of(message.sender))
            self.heard += message.role in AGENTS
        else:
            self._last = key_of(message.sender)
        if self._told[-1][1] == LEFT:
            self.leave(message.sender)

    def _see_floor(self, frame: Welcome | FloorView) -> None:
        if isinstance(frame, FloorView):
            self.silences.take(frame, held=self.is_held)
            return
        if self._past is None:
            self._past = frame.seq
        self.silences.take(frame.floor, held=self.is_held)

    def _pass(self, key: str) -> None:
        self.acted.append(key)
        self.passed.append(key)

    def _away(self, key: str) -> None:
        if key in self._people:
            self._pass(key)
        elif key in self._names:
            self.failure = self.failure or f"{self._names[key]} did not answer in time"

    def _redact(self, event: Event) -> None:
        seq = event.data.get("seq")
        for place, message in enumerate(self.messages):
            if message.seq == seq:
                kept = [one for one in self.room.messages if one.seq == seq]
                self.messages[place : place + 1] = kept or self.messages[place : place + 1]
