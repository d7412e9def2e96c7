"""One room as this hub runs it: entries from the log are applied, and what they want done is done."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from palaver import tracing
from palaver.core import floor, seats, views
from palaver.core import room as rules
from palaver.core.effects import (
    Acknowledge,
    Admit,
    Announce,
    Disconnect,
    Effect,
    Entrust,
    FloorChanged,
    Hearing,
    Publish,
    Reply,
    Rewrite,
    Silence,
)
from palaver.core.entry import Elapsed, Entry, HubBack, HubLost, Joined, Left, Logged
from palaver.core.message import Message, Role, key_of, timestamp
from palaver.core.notices import ack, nack, placed
from palaver.core.protocol import (
    Ack,
    Close,
    Command,
    Delta,
    Event,
    HubFrame,
    Nack,
    Say,
    Streamed,
    encode,
)
from palaver.core.state import RoomState, encode_state
from palaver.core.steering import names
from palaver.hub import sent_again, traced
from palaver.hub.audit import AuditLog
from palaver.hub.catch_up import CatchUp
from palaver.hub.clock import OncePerPass
from palaver.hub.deadlines import Deadlines
from palaver.hub.log import Archive, Log
from palaver.hub.metrics import Metrics
from palaver.hub.outbox import Outbox
from palaver.hub.session import MESSAGE, Session, wire
from palaver.hub.transcripts import Transcripts

logger = logging.getLogger(__name__)

SNAPSHOT_EVERY: Final = 20_000
"""Entries between two snapshots: a restart replays no more than so many."""


class Refused(Exception):
    """A seat was refused."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class RoomHost:
    """One room on this hub. All of it runs in the event loop's thread, between awaits."""

    def __init__(
        self,
        state: RoomState,
        *,
        hub: str,
        log: Log,
        archive: Archive,
        clock: Callable[[], float],
        metrics: Metrics,
        transcripts: Transcripts | None,
        on_cut: Callable[[Session, Close, str], None],
        audit: AuditLog | None = None,
    ) -> None:
        self.state = state
        self._hub = hub
        self._log = log
        self._archive = archive
        self._clock = clock
        self._metrics = metrics
        self._transcripts = transcripts
        self._on_cut = on_cut
        self._audit = audit
        self._asked: dict[str, str] = {}
        """Commands that are on their way through the log, by entry: the addresses that they came from."""
        self._loop = asyncio.get_running_loop()
        self.outbox = Outbox(self._loop, on_flush=self._flushed, on_behind=self._fell_behind)
        self.catching_up = CatchUp(state, archive, self.outbox)
        self._ahead = max(0.0, state.now - clock())
        """Seconds that the room's time is ahead of this hub's: its log was written under another clock."""
        self._deadlines = Deadlines(state, hub, self.now, lambda frame: log.append(self.entry(None, frame)))
        self._pass_time = OncePerPass(clock, self._loop)
        self._waiting: dict[str, tuple[Session, asyncio.Future[None]]] = {}
        self._floor_changed = False
        self._unsaved = 0
        self._called_lost: set[str] = set()
        self._sent_again = sent_again.SentAgain(log)
        self._life = secrets.token_hex(4)
        self._count = 0

    # --- in ------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The room's time: goes on from the latest that any entry has borne, as fast as this hub's clock."""
        return self._pass_time() + self._ahead

    def entry(self, session: Session | None, frame: Logged) -> Entry:
        """A frame stamped with who sent it and when; without a session it is the hub's own."""
        self._count += 1
        role: Role = "observer" if session is None else session.role
        return Entry(
            id=f"{self._life}.{self._count}",
            room=self.state.name,
            session="" if session is None else session.ident,
            name="hub" if session is None else session.name,
            role=role,
            time=self.now(),
            frame=frame,
        )

    def receive(self, session: Session, frame: Logged) -> None:
        """A member's frame: refused at the door, or handed to the log."""
        entry = self.entry(session, frame)
        if self._audit is not None and isinstance(frame, Command):
            self._asked[entry.id] = session.address
        refusal = rules.refuses(self.state, entry)
        if refusal is None:
            self._log.append(entry)
        else:
            self._metrics.nack(refusal.code)
            self.outbox.reply(session, refusal)
            self._note(entry, refusal)

    def stream(self, session: Session, frame: Delta) -> None:
        """Streamed text of whoever has the floor; anybody else's is dropped."""
        if self._may_stream(session.name, frame.turn):
            now = timestamp(self.now())
            text = Streamed(room=self.state.name, timestamp=now, sender=session.name, turn=frame.turn, text=frame.text)
            self._pass_on(text)
            self._log.tell(text)

    def heard(self, frame: Streamed) -> None:
        """Text that is streamed to another hub: whether it may be is looked at here too."""
        if self._may_stream(frame.sender, frame.turn):
            self._pass_on(frame)

    def _may_stream(self, name: str, turn: int) -> bool:
        given = self.state.floor.grants.get(key_of(name))
        return given is not None and given.turn == turn and given.purpose == "speak"

    def _pass_on(self, text: Streamed) -> None:
        self._deadlines.sign_of_life(text.turn)
        if not self.state.floor.approval and not floor.policy_of(self.state).sealed:
            self.outbox.delta(text.turn, text)

    async def seat(self, session: Session, joined: Joined, after: int | None, history: int) -> None:
        """Ask the log for a seat and wait until it is given; raises `Refused`."""
        session.delivered = max(0, self.state.seq - history) if after is None else after
        entry = self.entry(session, msgspec.structs.replace(joined, after=session.delivered))
        refusal = seats.refuse(self.state, entry)
        if refusal is not None and not (refusal.code is Close.NAME_TAKEN and self._is_of_before(entry.name)):
            raise Refused(refusal.code, refusal.reason)
        session.connection = entry.id
        admitted = self._waiting[entry.id] = (session, self._loop.create_future())
        self._log.append(entry)
        try:
            await admitted[1]
        except asyncio.CancelledError:
            self.unseat(session, "connection lost")
            raise
        finally:
            self._waiting.pop(entry.id, None)

    def _is_of_before(self, name: str) -> bool:
        """Whether the seat is of this hub's life before: `HubStarted`, which empties it, is on its way."""
        member = self.state.members.get(key_of(name))
        return member is not None and member.hub == self._hub and not member.connection.startswith(f"{self._life}.")

    def unseat(self, session: Session, reason: str) -> None:
        """The connection has ended; its seat is given back unless another connection has it."""
        if self.outbox.sessions.get(session.ident) is session:
            self.outbox.remove(session)
            self.catching_up.forget(session)
        self._log.append(self.entry(session, Left(connection=session.connection, reason=reason[:200])))

    def _turn_away(self, entry: str, code: Close, reason: str) -> None:
        if entry in self._waiting and not (admitted := self._waiting[entry][1]).done():
            admitted.set_exception(Refused(code, reason))

    # --- the log speaks ------------------------------------------------------------------------------------------

    def take(self, entries: Sequence[tuple[int, Entry]]) -> None:
        """Apply what is durable and do what it wants done."""
        published: list[tuple[Message, bytes]] = []
        for position, entry in entries:
            self.state.applied = position
            try:
                effects = rules.apply(self.state, entry)
                for effect in effects:
                    self._perform(effect, published)
                if self._asked:
                    self._note(entry, *[effect.frame for effect in effects if isinstance(effect, Reply)])
            except Exception:  # a mistake of ours must not cost the room what comes after it
                logger.exception("room %s: entry %s at %d was not carried out", self.state.name, entry.id, position)
            if isinstance(entry.frame, (Elapsed, HubLost)):
                self._settle(entry.frame)
        self._ahead = max(self._ahead, self.state.now - self._clock())
        if self._floor_changed:
            self._floor_changed = False
            self.outbox.notice(views.floor_view(self.state))
        self.outbox.flush()
        if self.state.records or self.state.lost:
            self._deadlines.watch()
        if published:
            self._keep(published)
        self._unsaved += len(entries)
        if self._unsaved >= SNAPSHOT_EVERY:
            self.save()

    def _settle(self, frame: Elapsed | HubLost) -> None:
        """Note what a hub proposed; a hub that is called lost and reads it says that it lives."""
        if isinstance(frame, Elapsed):
            self._deadlines.settled(frame.key)
        else:
            self._called_lost.discard(frame.hub)
            if frame.hub == self._hub:
                self._log.append(self.entry(None, HubBack(hub=self._hub)))

    def refused(self, entries: Sequence[Entry], reason: str) -> None:
        """The log could not keep these: nothing of them happened, and whoever sent them is told."""
        told = f"the log is unavailable: {reason}"
        for entry in entries:
            session = self.outbox.sessions.get(entry.session)
            if isinstance(entry.frame, Joined):
                self._turn_away(entry.id, Close.LOG_UNAVAILABLE, told)
            elif isinstance(entry.frame, Elapsed):
                self._deadlines.refused(entry.frame.key)
            elif isinstance(entry.frame, HubLost):
                self._called_lost.discard(entry.frame.hub)
            elif isinstance(entry.frame, sent_again.KINDS):
                self._sent_again.put(entry)
            elif session is not None and isinstance(entry.frame, Say | Command):
                refusal = nack(self.state, entry.frame.id, "unavailable", told, 1.0, now=self.now())
                self._metrics.nack(refusal.code)
                self.outbox.reply(session, refusal)
                self._note(entry, refusal)
            self._asked.pop(entry.id, None)

    def _note(self, entry: Entry, *answers: HubFrame) -> None:
        """Keep a command that came in here, and its answer, in the audit log; another hub keeps its own."""
        if self._audit is None or not isinstance(entry.frame, Command):
            return
        ident, known = entry.frame.id, (answer for answer in answers if isinstance(answer, Ack | Nack))
        answer = next((answer for answer in known if answer.id == ident), None)
        if answer is None or (address := self._asked.pop(entry.id, None)) is None:
            return
        self._audit.command(
            room=self.state.name,
            actor=entry.name,
            role=entry.role,
            session=entry.session,
            address=address,
            text=entry.frame.text,
            names=names(self.state),
            answer=answer,
        )

    def _perform(self, effect: Effect, published: list[tuple[Message, bytes]]) -> None:
        match effect:
            case Publish(message, ident):
                body = encode(message)
                published.append((message, body))
                self.outbox.message(message, body)
                if ident and (session := self.outbox.sessions.get(ident)) is not None:
                    self.outbox.acknowledge(session, placed(message))
            case Acknowledge(ident, words, seq):
                if (session := self.outbox.sessions.get(ident)) is not None:
                    self.outbox.acknowledge(session, ack(self.state, words, seq))
            case Reply(ident, frame):
                if (session := self.outbox.sessions.get(ident)) is not None:
                    self.outbox.reply(session, frame)
                    if isinstance(frame, Nack):
                        self._metrics.nack(frame.code)
            case FloorChanged():
                self._floor_changed = True
            case Entrust(ident, given):
                if (session := self.outbox.sessions.get(ident)) is not None:
                    self.outbox.reply(session, floor.grant_frame(self.state, given))
            case Announce(frame, moderators=True):
                self.outbox.moderators(frame)
                if isinstance(frame, Event) and frame.kind == "cancelled":
                    self._metrics.cancel.observe(float(frame.data["latency"]))
            case Announce(frame):
                self.outbox.notice(frame)
            case Silence(turn):
                self.outbox.silence(turn)
            case Hearing(ident, deaf):
                if (session := self.outbox.sessions.get(ident)) is not None:
                    self.outbox.flush()  # what was said before is heard
                    session.view = session.view & ~MESSAGE if deaf else session.view | MESSAGE
            case Rewrite(message):
                self.outbox.flush()
                self.catching_up.forget_text()
                self._keep(published)  # it may have been said only now: its words must not be kept after these
                published.clear()
                self._archive.record(self.state.name, [(message.seq, encode(message))])
                if self._transcripts is not None:
                    self._transcripts.rewrite(self.state.name, message)
            case Admit(ident, entry):
                self._admit(ident, entry)
            case Disconnect(ident, code, reason, entry):
                self._disconnect(ident, code, reason, entry)

    def _keep(self, published: list[tuple[Message, bytes]]) -> None:
        self._archive.record(self.state.name, [(message.seq, body) for message, body in published])
        if tracing.is_on():
            for message, _ in published:
                traced.delivered(message, self._hub)
        if self._transcripts is not None:
            self._transcripts.write(self.state.name, published)
        for role, count in Counter([message.role for message, _ in published]).items():
            self._metrics.messages.labels(role).inc(count)

    def save(self) -> None:
        """Keep a snapshot of the room as it is."""
        self._unsaved = 0
        self._log.save_snapshot(self.state.name, self.state.applied, encode_state(self.state))

    def look_for_lost(self) -> None:
        """Propose that hubs are lost that have members here and are not heard of any more."""
        state = self.state
        hubs = {member.hub for key, member in state.members.items() if key not in state.lost}
        for hub in hubs - self._called_lost - {self._hub}:
            if not self._log.is_alive(hub):
                self._called_lost.add(hub)
                self._log.append(self.entry(None, HubLost(hub=hub)))

    # --- seats ---------------------------------------------------------------------------------------------------

    def _admit(self, ident: str, entry: str) -> None:
        old = self.outbox.sessions.get(ident)
        if old is not None:
            self.outbox.remove(old)
            self.catching_up.forget(old)
            self._on_cut(old, Close.TAKEN_OVER, "joined again from elsewhere")
        session, admitted = self._waiting.get(entry, (None, None))
        if session is None or admitted is None or admitted.done():  # another hub's, or the connection went away
            return
        self.outbox.flush()
        self.outbox.add(session)
        session.delivered = min(session.delivered, self.state.seq)
        if session.legacy:
            session.delivered = self.state.seq
        else:
            welcome = views.welcome(
                self.state, session.name, session.role, session.ident, delivered=session.delivered, time=self.now()
            )
            session.write(wire(encode(welcome)))
        admitted.set_result(None)
        self.catching_up.start(session)

    def _disconnect(self, ident: str, code: Close, reason: str, entry: str) -> None:
        if entry:
            self._turn_away(entry, code, reason)
            return
        session = self.outbox.sessions.get(ident)
        if session is not None:
            self.outbox.flush()
            self.outbox.remove(session)
            self.catching_up.forget(session)
            self._on_cut(session, code, reason)

    def _flushed(self, deliveries: int, size: int) -> None:
        self._metrics.deliveries.inc(deliveries)
        self._metrics.bytes.inc(size)

    def _fell_behind(self, session: Session) -> None:
        self._metrics.set_aside.inc()
        self.catching_up.behind.add(session)

    async def close(self) -> None:
        """Stop timers and catching up; keep a snapshot."""
        self._deadlines.close()
        self._sent_again.close()
        await self.catching_up.close()
        self.save()
