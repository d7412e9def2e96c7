"""The moderator's seat: what is typed goes to the hub or is done here, what comes is shown. It knows no terminal."""

import asyncio
import difflib
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from palaver.core.commands import COMMANDS, Spec, spec_of
from palaver.core.errors import CommandError, PalaverError
from palaver.core.protocol import HubFrame, Streamed, Welcome
from palaver.participants.console import local
from palaver.participants.console.clean import clean, clean_name
from palaver.participants.console.files import with_files
from palaver.participants.console.hiding import Hiding
from palaver.participants.console.lines import Line
from palaver.participants.console.paint import Tone
from palaver.participants.console.telling import answer_line, tell
from palaver.participants.console.view import RoomView
from palaver.participants.link import Answer, LinkDown, Received

_ENDED: Final = "the conversation has ended: /save FILE keeps it, /switch ROOM begins another, /quit leaves"
LIKE: Final = 0.6
"""Likeness below which a command is not suggested for a mistyped one."""


class Screen(Protocol):
    """Where lines appear: a terminal or a pipe."""

    def show(self, line: Line) -> None:
        """Add a line."""

    def refuse(self, line: Line) -> None:
        """Add a line that says why something was not done."""

    def refresh(self) -> None:
        """What stands beside the lines (status, live text) has changed."""

    def clear(self) -> None:
        """Begin with an empty screen."""


class Hub(Protocol):
    """What the seat asks of its link."""

    async def say(self, text: str) -> Answer:
        """Say it to everybody."""

    async def command(self, text: str) -> Answer:
        """Have it done."""


class Seat:
    """One moderator in one room."""

    def __init__(
        self,
        *,
        view: RoomView,
        hub: Hub,
        screen: Screen,
        clock: Callable[[], float],
        hiding: Hiding,
        fetch_rooms: local.FetchRooms,
    ) -> None:
        self.view = view
        self.screen = screen
        self.clock = clock
        self.hiding = hiding
        self.fetch_rooms = fetch_rooms
        self.rooms: list[str] = []
        """Rooms of this hub, as far as asked for."""
        self.next_room: str | None = None
        """Where to go after this room."""
        self.leaving = asyncio.Event()
        self.seated = asyncio.Event()
        self.caught_up = asyncio.Event()
        """Set with the last of the messages that were said before."""
        self.why_down = ""
        self._stillness = ""
        self._hub = hub
        view.hiding = str(hiding)

    # --- what comes --------------------------------------------------------------------------------------------------

    def hear(self, received: Received) -> None:
        """Take what the link hands on."""
        if isinstance(received, LinkDown):
            self._lost(received)
        else:
            self._hear(received)
        self.screen.refresh()

    def _hear(self, frame: HubFrame) -> None:
        hidden = self.hiding.hides(frame, self.view.me)
        if not (hidden and isinstance(frame, Streamed)):
            self.view.take(frame, self.clock())
        line = tell(frame, self.view.me)
        if line is not None and hidden:
            self.view.hidden += 1
        elif line is not None:
            self.screen.show(line)
        if isinstance(frame, Welcome):
            self.seated.set()
        if self.view.is_caught_up:
            self.caught_up.set()
            self._tell_stillness()

    def _tell_stillness(self) -> None:
        """Why nobody speaks, once, after what was said before."""
        floor, told = self.view.floor, self._stillness
        self._stillness = _ENDED if floor.ended else clean(floor.waits)
        if self._stillness and self._stillness != told:
            self.screen.show(Line(self._stillness, "notice"))

    def _lost(self, down: LinkDown) -> None:
        if self.view.is_up or not self.why_down:
            self.screen.show(Line(f"{clean(down.reason)}; trying again", "warning"))
        self.why_down = down.reason
        self.view.lost(self.clock())

    # --- what is typed -----------------------------------------------------------------------------------------------

    async def enter(self, typed: str) -> bool:
        """Say or do what was typed and wait until it is done; False where it was not understood or refused."""
        typed = typed.strip("\n")
        if not typed.strip():
            return True
        try:
            if not typed.lstrip().startswith("/"):
                return await self._ask(self._hub.say(typed))
            if typed.lstrip().startswith("//"):
                return await self._ask(self._hub.say(typed.lstrip()[1:]))
            return await self._carry_out(typed.strip())
        except PalaverError as error:
            self.screen.refuse(Line(clean(str(error)), "error"))
            return False

    def question(self, typed: str) -> str | None:
        """What to ask before doing this, where it cannot be taken back."""
        spec = self._spec(typed)
        return f"{clean(' '.join(typed.split()))[:60]}: {spec.summary}?" if spec and spec.destructive else None

    def _spec(self, typed: str) -> Spec | None:
        typed = typed.strip()
        if not typed.startswith("/") or typed.startswith("//"):
            return None
        try:
            return spec_of(typed)
        except CommandError:
            return None

    async def toggle_pause(self) -> None:
        """The one key: silence everybody, or end the silence."""
        await self.enter("/resume" if self.view.floor.paused else "/pause")

    async def _carry_out(self, typed: str) -> bool:
        spec = self._spec(typed)
        if spec is None:
            self.screen.refuse(Line(unknown(typed), "error"))
            return False
        if spec.where == "console":
            _, _, rest = typed.partition(" ")
            await local.RULES[spec.verb](self, rest.strip())
            return True
        return await self._ask(self._hub.command(with_files(typed, self.view.names)))

    async def _ask(self, answering: Awaitable[Answer]) -> bool:
        if not self.view.is_up:
            self.tell("no connection now: this is sent as soon as the hub is back", "warning")
        self.view.unanswered += 1
        self.screen.refresh()
        try:
            answer = await answering
        finally:
            self.view.unanswered -= 1
            self.screen.refresh()
        line = answer_line(answer)
        refused = line is not None and line.tone == "error"
        if line is not None:
            (self.screen.refuse if refused else self.screen.show)(line)
        return not refused

    # --- what local commands use -------------------------------------------------------------------------------------

    def tell(self, text: str, tone: Tone = "result") -> None:
        """Answer the person at the keyboard."""
        self.screen.show(Line(text, tone))

    def take_leave(self) -> None:
        """Say what was typed in vain."""
        count = self.view.unanswered
        if count and not self.view.is_up:
            what = "the last line was" if count == 1 else f"the last {count} lines were"
            self.tell(f"{what} never sent: there was no connection", "warning")

    def leave(self, *, room: str | None = None) -> None:
        """Get up, to sit down in another room where one is given."""
        self.next_room = room
        self.leaving.set()

    @property
    def names(self) -> list[str]:
        """The names that a local command may speak of."""
        return [clean_name(name) for name in self.view.names]


def unknown(typed: str) -> str:
    """What to say to a command that does not exist or could be several; nothing is sent."""
    verb = typed.lstrip("/").split(maxsplit=1)[0].lower() if typed.strip("/ ") else ""
    begun = [name for name in COMMANDS if verb and name.startswith(verb)]
    near = begun or difflib.get_close_matches(verb, COMMANDS, 3, LIKE)
    told = [f"{COMMANDS[name].usage}: {COMMANDS[name].summary}" for name in near]
    if not near:
        told = ["commands: " + " ".join(f"/{name}" for name in COMMANDS)]
    what = f"command /{clean(verb)} {'could be several' if begun else 'is unknown'}; nothing was sent"
    return "\n".join([what, *told, "/help lists all; // begins a message with a slash"])
