"""Who sits in a party's rooms and who is ready, seen as an observer; and whether its hub answers."""

import asyncio
import contextlib
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from palaver.core.errors import ConfigError, NameTaken, PalaverError
from palaver.core.message import key_of
from palaver.core.protocol import HubFrame, Join, Presence, Welcome
from palaver.participants.link import Link, LinkDown
from palaver.party.process import Plan, Seat

NAME: Final = "Launcher"
"""Under which it looks in."""


class Seen(NamedTuple):
    """How somebody was seen last."""

    state: str
    """`loading`, `ready`, `away`, `left`."""
    text: str = ""
    progress: float | None = None


class Watch:
    """What is seen of some rooms. `changed` is set whenever there is news."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.failure: PalaverError | None = None
        """Why nothing can be seen: we are not let in."""
        self.welcomes = 0
        """Rooms that we were let into."""
        self._seen: dict[tuple[str, str], Seen] = {}
        self._ready: set[tuple[str, str]] = set()

    def of(self, seat: Seat) -> Seen | None:
        """How somebody was seen last, None for nobody so far."""
        return self._seen.get((seat.room, key_of(seat.name)))

    def was_ready(self, seat: Seat) -> bool:
        """Whether somebody was ready, be it that they left since."""
        return (seat.room, key_of(seat.name)) in self._ready

    def take(self, room: str, frame: HubFrame) -> None:
        """Note what a frame says of who is there."""
        match frame:
            case Welcome():
                self.welcomes += 1
                for seat in frame.roster:
                    self._note(room, seat.name, Seen(seat.state))
            case Presence():
                state = ("ready" if frame.ready else "loading") if frame.state == "joined" else frame.state
                self._note(room, frame.name, Seen(state, frame.text, frame.progress))
        self.changed.set()

    def _note(self, room: str, name: str, seen: Seen) -> None:
        key = (room, key_of(name))
        self._seen[key] = seen
        if seen.state == "ready":
            self._ready.add(key)

    async def look(self, url: str, room: str, token: str | None, tls: ssl.SSLContext | None) -> None:
        """Sit in a room until cancelled."""
        for name in (NAME, f"{NAME} {os.getpid()}"):
            join = Join(name=name, role="observer", room=room, token=token, deltas=False, about="palaver up")
            try:
                async with Link(url, join, tls=tls) as link:
                    async for frame in link:
                        if not isinstance(frame, LinkDown):
                            self.take(room, frame)
                return
            except NameTaken:
                continue
            except PalaverError as error:
                self.failure = error
                self.changed.set()
                return


@asynccontextmanager
async def watching(plan: Plan, rooms: Iterable[str], token: str | None) -> AsyncIterator[Watch]:
    """See who is in these rooms for as long as the block lasts."""
    watch, tls = Watch(), None
    if plan.tls_ca:
        try:
            tls = ssl.create_default_context(cafile=plan.tls_ca)
        except OSError as error:
            raise ConfigError(f"tls_ca: {plan.tls_ca} cannot be read: {error.strerror}") from error
    tasks = [asyncio.create_task(watch.look(plan.url, room, token, tls)) for room in dict.fromkeys(rooms)]
    try:
        yield watch
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def glance(plan: Plan, rooms: Iterable[str], token: str | None, *, seconds: float = 3) -> Watch:
    """Who is in these rooms now; nothing where no hub answers in time."""
    rooms = list(dict.fromkeys(rooms))
    async with watching(plan, rooms, token) as watch:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while watch.welcomes < len(rooms) and watch.failure is None:
                    watch.changed.clear()
                    await watch.changed.wait()
    return watch


async def is_healthy(url: str) -> bool:
    """Whether a hub answers `GET /health` at its port."""
    return await asyncio.to_thread(_is_healthy, url.replace("ws", "http", 1))


def _is_healthy(url: str) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is asked how it is and told nothing
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(f"{url.rstrip('/')}/health", timeout=5) as answer:
            return bool(json.load(answer)["status"] == "ok")
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError):
        return False
