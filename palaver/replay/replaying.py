"""A recorded conversation run again: the same entries, the same rules, and the models' replies from the record.

People's words and commands, comings and goings come at their places in the log. What a participant's code makes of
them (its prompt, its request, its own words of a reply) is made anew, and must come out as it did.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from palaver.core import floor, views
from palaver.core import room as rules
from palaver.core.effects import Admit, Announce, Effect, Entrust, Publish, Reply, Rewrite
from palaver.core.entry import Entry, Joined
from palaver.core.errors import PalaverError
from palaver.core.message import AGENTS, Message, key_of, timestamp
from palaver.core.prompt import Prompt, own_words
from palaver.core.protocol import MAX_CONTENT, HubFrame, Pass, Say, Welcome
from palaver.core.state import RoomState
from palaver.models.model import ChatMessage, LLMResponse
from palaver.models.recorded import MOST_PARTS, RecordedModel, parts_of, request_hash
from palaver.participants.provenance import hash_of, short_hash
from palaver.participants.settings import Settings
from palaver.replay.comparing import difference, shortened
from palaver.replay.onlooker import Onlooker

HISTORY: Final = 200
"""Messages that a room holds, as a hub has it by default."""
UNTOLD: Final = "does not say in the log how it speaks"
UNHASHED: Final = "does not tell what it asked its model"


class Missed(PalaverError):
    """A participant asks for what the record does not hold, or does something else than it did."""


@dataclass(slots=True)
class Report:
    """What a replay came to."""

    messages: list[Message] = field(default_factory=list)
    """What was said, as the room holds it at the end."""
    replies: int = 0
    """Made again, request and all."""
    as_recorded: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Taken as they stand in the log: by name and reason."""


async def replay(entries: Sequence[Entry]) -> Report:
    """Run a room's log again; raises `Missed` at the first turn that comes out otherwise."""
    if not entries:
        return Report()
    opening = next((entry.frame for entry in entries if isinstance(entry.frame, Joined)), None)
    if opening is not None and opening.opening is None:
        raise PalaverError("this log does not say what floor its room began with: a hub of an older version wrote it")
    return await _Replay(entries).run()


class _Replay:
    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._state = RoomState(name=entries[0].room, history_limit=HISTORY)
        self._model = RecordedModel(_replies(entries))
        self._onlookers: dict[str, Onlooker] = {}
        """By session."""
        self._said: dict[int, Message] = {}
        self._taken: set[tuple[str, str]] = set()
        self._report = Report()

    async def run(self) -> Report:
        for place, entry in enumerate(self._entries, 1):
            again = await self._again(entry)
            if told := difference(entry, again):
                raise Missed(f"{entry.name}, entry {place} of the log: {told}")
            for effect in rules.apply(self._state, again):
                self._perform(effect, again)
            self._state.applied = place
        self._report.messages = list(self._said.values())
        return self._report

    # --- what participants do ----------------------------------------------------------------------------------------

    async def _again(self, entry: Entry) -> Entry:
        """The entry as it comes out now: a model's turn is made anew, everything else is as it was."""
        frame = entry.frame
        if not isinstance(frame, Say | Pass) or entry.role not in AGENTS or frame.turn is None or self._is_taken(entry):
            return entry
        meta, onlooker = frame.meta or {}, self._onlookers.get(entry.session)
        if isinstance(frame, Pass) and frame.meta is None:  # no model was asked
            return entry
        if reason := _why_not(meta, onlooker):
            self._report.as_recorded[entry.name, reason] += 1
            return entry
        assert onlooker is not None
        prompt, response = await self._answer(entry, onlooker, frame.turn, meta)
        self._report.replies += 1
        made = {**meta, **_made(prompt, cast(Settings, onlooker.settings))}
        if isinstance(frame, Pass):
            return msgspec.structs.replace(entry, frame=msgspec.structs.replace(frame, meta=made))
        said, _ = own_words(response.content, entry.name, onlooker.others(frame.turn))
        return msgspec.structs.replace(
            entry, frame=msgspec.structs.replace(frame, content=said[:MAX_CONTENT], meta=made)
        )

    def _is_taken(self, entry: Entry) -> bool:
        """Whether this frame was in the log before: sent again by a client that had no answer."""
        ident = getattr(entry.frame, "id", "")
        if not ident:
            return False
        known = (entry.session, ident) in self._taken
        self._taken.add((entry.session, ident))
        return known

    async def _answer(
        self, entry: Entry, onlooker: Onlooker, turn: int, meta: dict[str, Any]
    ) -> tuple[Prompt, LLMResponse]:
        """The prompt of a turn, made again, and what was answered to it; raises `Missed`."""
        if not onlooker.knows(turn):
            raise Missed(f"{entry.name}, turn {turn}: it spoke in this turn, and is not given it now")
        first: tuple[Prompt, Settings] | None = None
        key = key_of(entry.name)
        for prompt in onlooker.moments(turn, int(meta["saw_to"])):
            settings = cast(Settings, onlooker.settings)
            first = first or (prompt, settings)
            request = request_hash(prompt.messages, temperature=settings.temperature, max_tokens=settings.max_tokens)
            if request == meta["request_hash"] and self._model.knows(key, request):
                response = await self._model.complete(
                    cast(list[ChatMessage], prompt.messages),
                    max_tokens=settings.max_tokens,
                    temperature=settings.temperature,
                    stop=prompt.stop,
                    cache_key=key,
                )
                return prompt, response
        assert first is not None
        raise Missed(f"{entry.name}, turn {turn}: {_what_differs(*first, meta)}")

    # --- what the hub does -------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect, entry: Entry) -> None:
        match effect:
            case Publish(message):
                self._said[message.seq] = message
                self._to_all(message)
            case Rewrite(message):
                self._said[message.seq] = message
            case Announce(frame, moderators=False):
                self._to_all(frame)
            case Reply(session, frame) if session in self._onlookers:
                self._onlookers[session].deliver(frame)
            case Entrust(session, given) if session in self._onlookers:
                self._onlookers[session].deliver(floor.grant_frame(self._state, given))
            case Admit(session) if entry.role in AGENTS:
                self._admit(session, entry)

    def _to_all(self, frame: HubFrame) -> None:
        for key, member in self._state.members.items():
            onlooker = self._onlookers.get(member.session)
            if onlooker is not None and not (isinstance(frame, Message) and self._is_deaf(key, frame.seq)):
                onlooker.deliver(frame)

    def _is_deaf(self, key: str, seq: int) -> bool:
        record = self._state.records.get(key)
        ranges = record.deaf if record is not None else []
        return any(first <= seq and (not last or seq <= last) for first, last in ranges)

    def _admit(self, session: str, entry: Entry) -> None:
        assert isinstance(entry.frame, Joined)
        onlooker = self._onlookers.setdefault(session, Onlooker(entry.name, entry.role))
        onlooker.joined(entry.frame, _welcome(self._state, entry))
        for message in self._said.values():
            if message.seq > entry.frame.after and not self._is_deaf(key_of(entry.name), message.seq):
                onlooker.deliver(message)


def _why_not(meta: dict[str, Any], onlooker: Onlooker | None) -> str:
    """Why a turn cannot be made again; empty where it can."""
    if onlooker is None or onlooker.settings is None:
        return UNTOLD
    if not isinstance(meta.get("request_hash"), str) or not isinstance(meta.get("saw_to"), int):
        return UNHASHED
    return ""


def _replies(entries: Sequence[Entry]) -> dict[tuple[str, str], list[LLMResponse]]:
    """The recorded replies by participant and request, in order."""
    found: dict[tuple[str, str], list[LLMResponse]] = {}
    taken: set[tuple[str, str]] = set()
    for entry in entries:
        frame = entry.frame
        if not isinstance(frame, Say | Pass) or not isinstance((frame.meta or {}).get("request_hash"), str):
            continue
        ident = (entry.session, getattr(frame, "id", "") or entry.id)
        if ident not in taken:
            taken.add(ident)
            key = (key_of(entry.name), str((frame.meta or {})["request_hash"]))
            found.setdefault(key, []).append(_reply(entry.name, frame))
    return found


def _reply(name: str, frame: Say | Pass) -> LLMResponse:
    """The reply as its participant may have got it. Its label comes before the words: it is taken off once."""
    content = f"{name}: {frame.content}" if isinstance(frame, Say) else ""
    return LLMResponse(content, 0, 0.0, RecordedModel.name, True)


def _made(prompt: Prompt, settings: Settings) -> dict[str, Any]:
    """The part of a message's meta that its participant's code makes: the rest is the model's."""
    return {
        "persona_hash": short_hash(settings.persona),
        "prompt_hash": hash_of(prompt.messages),
        "prompt_parts": parts_of(prompt.messages),
        "request_hash": request_hash(prompt.messages, temperature=settings.temperature, max_tokens=settings.max_tokens),
        "saw_from": prompt.saw_from,
        "saw_to": prompt.saw_to,
    }


def _what_differs(prompt: Prompt, settings: Settings, meta: dict[str, Any]) -> str:
    """Why a request is not the recorded one: the first message of the prompt that is another, or the sampling."""
    recorded, now = str(meta.get("prompt_parts", "")).split(), parts_of(prompt.messages).split()
    if recorded == now:
        was = {name: meta.get(name) for name in ("temperature", "max_tokens")}
        return (
            f"the prompt is the same, but the request is not: now temperature {settings.temperature:g} and "
            f"{settings.max_tokens} tokens, recorded were {was['temperature']} and {was['max_tokens']}"
        )
    if len(recorded) >= MOST_PARTS or len(now) >= MOST_PARTS:  # only the last ones are known: they end together
        return f"its prompt is not the recorded one; it ends now: {shortened(prompt.messages[-1]['content'])}"
    for place, (message, one) in enumerate(zip(prompt.messages, now, strict=True)):
        if place >= len(recorded) or recorded[place] != one:
            there = "was not there" if place >= len(recorded) else "was another"
            shown = shortened(message["content"])
            return f"message {place + 1} of its prompt ({message['role']}) {there} when it was recorded; now: {shown}"
    return f"its prompt has {len(now)} messages, recorded were {len(recorded)}"


def _welcome(state: RoomState, entry: Entry) -> Welcome:
    return Welcome(
        room=state.name,
        timestamp=timestamp(state.now),
        name=entry.name,
        role=entry.role,
        session=entry.session,
        seq=state.seq,
        missed=0,
        members=len(state.members),
        roster=views.roster(state),
        floor=views.floor_view(state),
    )
