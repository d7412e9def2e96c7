"""The commands that the console carries out itself; the hub never hears of them."""

import asyncio
import json
import os
import re
import ssl
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import wcwidth

from palaver.core.commands import COMMANDS, spec_of
from palaver.core.errors import CommandError
from palaver.core.message import Message, key_of
from palaver.core.names import room_name
from palaver.participants.console.clean import clean, clean_name
from palaver.participants.console.telling import message_line
from palaver.records.formats import SUFFIXES, rendered

if TYPE_CHECKING:
    from palaver.participants.console.seat import Seat

FetchRooms = Callable[[], Awaitable[list[dict[str, Any]]]]
"""Asks the hub for its rooms; raises `CommandError` where it does not answer."""
_FOUND: Final = 50


def _argument(seat: "Seat", verb: str, rest: str) -> str:
    if not rest:
        raise CommandError(f"usage: {COMMANDS[verb].usage}")
    return rest.strip('"')


# --- what is seen --------------------------------------------------------------------------------------------------


async def _toggle(seat: "Seat", rest: str) -> None:
    _change(seat, rest or "chat", hide=None)


async def _hide(seat: "Seat", rest: str) -> None:
    _change(seat, rest or "chat", hide=True)


async def _show(seat: "Seat", rest: str) -> None:
    if rest:
        _change(seat, rest, hide=False)
        return
    seat.hiding.show_all()
    _told_hidden(seat, "everything is shown")


async def _ignore(seat: "Seat", rest: str) -> None:
    _change(seat, _argument(seat, "ignore", rest), hide=True)


def _change(seat: "Seat", what: str, *, hide: bool | None) -> None:
    whole, hidden = seat.hiding.change(what, seat.names, hide=hide)
    others = ", ".join(each for each in seat.hiding.hidden() if each != whole)
    word = "also" if hidden else "still"
    _told_hidden(
        seat, f"{'hiding' if hidden else 'showing'} {whole}" + (f"; {word} hidden: {others}" if others else "")
    )


def _told_hidden(seat: "Seat", text: str) -> None:
    view = seat.view
    view.hiding = str(seat.hiding)
    missed = f"; {view.hidden} were hidden, /history shows the messages again" if view.hidden else ""
    if not view.hiding:
        view.hidden = 0
    seat.tell(text if view.hiding else text + missed)


async def _clear(seat: "Seat", rest: str) -> None:
    seat.screen.clear()


# --- what was said -------------------------------------------------------------------------------------------------


async def _history(seat: "Seat", rest: str) -> None:
    count = int(rest) if rest.isdecimal() and len(rest) < 10 else 20 if not rest else 0
    if count < 1:
        raise CommandError(f"{rest!r} is no number of messages; usage: {COMMANDS['history'].usage}")
    _list(seat, list(seat.view.messages.values())[-count:], "nothing has been said yet")


async def _lastlog(seat: "Seat", rest: str) -> None:
    pattern = _argument(seat, "lastlog", rest)
    try:
        wanted = re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError):  # no pattern, or not one that can be carried out
        wanted = re.compile(re.escape(pattern), re.IGNORECASE)
    found = [one for one in seat.view.messages.values() if wanted.search(f"{one.sender}: {one.content}")]
    _list(seat, found[-_FOUND:], f"nothing said here matches {pattern!r}")
    if len(found) > _FOUND:
        seat.tell(f"the last {_FOUND} of {len(found)}")


def _list(seat: "Seat", messages: list[Message], nothing: str) -> None:
    for message in messages:
        seat.screen.show(message_line(message, seat.view.me))
    if not messages:
        seat.tell(nothing)


async def _save(seat: "Seat", rest: str) -> None:
    path = _argument(seat, "save", rest)
    messages = list(seat.view.messages.values())
    try:
        await asyncio.to_thread(write_transcript, Path(path), messages, seat.view.room)
    except (OSError, ValueError, RuntimeError) as error:
        raise CommandError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    first = f", from #{messages[0].seq} on" if messages and messages[0].seq > 1 else ""
    seat.tell(f"{len(messages)} messages{first} saved in {path}")


def write_transcript(path: Path, messages: list[Message], title: str) -> None:
    """Write a transcript in the form that the file's name asks for; an old file is replaced at once or not at all."""
    path = path.expanduser()
    form = SUFFIXES.get(path.suffix)
    if form is None:
        raise CommandError(f"{path} must end in {', '.join(SUFFIXES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(rendered(form, messages, seen_as=None, title=title))
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


# --- where and who -------------------------------------------------------------------------------------------------


async def _who(seat: "Seat", rest: str) -> None:
    floor, now = seat.view.floor, seat.clock()
    muted = {key_of(name) for name in floor.muted}
    holding = {key_of(one.name): seat.view.held_for(one.turn, now) for one in floor.holders}
    rows = []
    for key, one in seat.view.seats.items():
        notes = [one.role, one.state]
        notes += ["muted"] if key in muted else []
        notes += ["hears nothing"] if one.deafened else []
        notes += [f"has the floor {holding[key]:.0f} s"] if key in holding else []
        rows.append((clean_name(one.name), ", ".join(notes) + (f" ({clean(one.about)})" if one.about else "")))
    widest = max((wcwidth.width(name) for name, _ in rows), default=0)
    told = [f"  {wcwidth.ljust(name, widest)}  {notes}" for name, notes in rows]
    seat.tell("\n".join([f"{len(rows)} in room {seat.view.room}", *told]))


async def _rooms(seat: "Seat", rest: str) -> None:
    rooms = await seat.fetch_rooms()
    seat.rooms = [str(room.get("name", "")) for room in rooms]
    told = []
    for room in rooms:
        here = "*" if room.get("name") == seat.view.room else " "
        paused = ", PAUSED" if room.get("paused") else ""
        topic = f": {clean(str(room['topic']))}" if room.get("topic") else ""
        told.append(
            f" {here}{clean_name(str(room.get('name')))}  {room.get('members', '?')} here, "
            f"{room.get('messages', '?')} messages, {room.get('policy', '?')}{paused}{topic}"
        )
    seat.tell("\n".join([f"{len(rooms)} rooms" if len(rooms) != 1 else "1 room", *told]))


async def _switch(seat: "Seat", rest: str) -> None:
    room = room_name(_argument(seat, "switch", rest))
    if room == seat.view.room:
        seat.tell(f"you are in room {room}")
        return
    seat.tell(f"going to room {room}")
    seat.leave(room=room)


async def _quit(seat: "Seat", rest: str) -> None:
    seat.leave()


async def _help(seat: "Seat", rest: str) -> None:
    if rest:
        spec = spec_of(rest)
        asks = "; asks first" if spec.destructive else ""
        seat.tell(f"{spec.usage}\n  {spec.summary} (done by the {spec.where}{asks})")
        return
    widest = max(len(spec.usage) for spec in COMMANDS.values() if len(spec.usage) < 30)
    told = [f"  {spec.usage:<{widest}}  {spec.summary}" for spec in COMMANDS.values()]
    keys = "Ctrl-P or F2 pauses and resumes; Tab completes; Up repeats; // begins a message with a slash; Ctrl-D leaves"
    names = "NAME may be whole, quoted or a unique beginning; anything else that you type is said to everybody"
    seat.tell("\n".join(["commands", *told, keys, names]))


RULES: dict[str, Callable[["Seat", str], Awaitable[None]]] = {
    "toggle": _toggle,
    "hide": _hide,
    "show": _show,
    "ignore": _ignore,
    "clear": _clear,
    "history": _history,
    "lastlog": _lastlog,
    "save": _save,
    "export": _save,
    "who": _who,
    "rooms": _rooms,
    "switch": _switch,
    "quit": _quit,
    "help": _help,
}


def rooms_of(server: str, proxy: str | None, token: str | None = None, tls: ssl.SSLContext | None = None) -> FetchRooms:
    """How to ask the hub at `server` for its rooms: over HTTP, on the same port, with the token in a header."""
    parts = urlsplit(server.split(",")[0].strip())
    scheme = "https" if parts.scheme == "wss" else "http"
    url = urlunsplit((scheme, parts.netloc, "/rooms", "", ""))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({scheme: proxy} if proxy else {}), urllib.request.HTTPSHandler(context=tls)
    )

    shown = {"Authorization": f"Bearer {token}"} if token else {}

    def read() -> list[dict[str, Any]]:
        try:
            with opener.open(urllib.request.Request(url, headers=shown), timeout=5) as response:
                content = json.loads(response.read(1_000_000))
        except (OSError, ValueError) as error:
            raise CommandError(f"{url} does not tell the rooms: {getattr(error, 'reason', error)}") from error
        if not isinstance(content, list):
            raise CommandError(f"{url} does not tell the rooms as a list")
        return [room for room in content if isinstance(room, dict)]

    return lambda: asyncio.to_thread(read)
