"""What the conversation server and its worker processes tell each other, over a socket that only they hold.

Both ends are the same program of the same release, so frames are pickled: a scene, a config and a log record travel as
they are.
"""

import asyncio
import logging
import pickle
from dataclasses import dataclass
from typing import Final

from palaver.api.plan import Plan
from palaver.config import ServerConfig
from palaver.models.model import LLMResponse
from palaver.scenes.episode import EpisodeLog
from palaver.scenes.progress import Progress

_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class Hello:
    """To a worker, once: what it is made of."""

    config: ServerConfig
    trace: str | None


@dataclass(frozen=True, slots=True)
class Begin:
    """To a worker: carry this out in a room of the hub at `url`."""

    plan: Plan
    url: str
    token: str | None


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: this conversation is cancelled."""

    id: str


@dataclass(frozen=True, slots=True)
class Noted:
    """To a worker: its last `Kept` of this conversation is kept."""

    id: str


@dataclass(frozen=True, slots=True)
class Kept:
    """From a worker: so far this conversation has come."""

    id: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Replied:
    """From a worker: a model has answered; the figures without the words."""

    model: str
    response: LLMResponse


@dataclass(frozen=True, slots=True)
class Over:
    """From a worker: a conversation has come to its end, failed for a reason of ours, or was stopped (neither)."""

    id: str
    episode: EpisodeLog | None = None
    failure: str | None = None


Frame = Hello | Begin | Stop | Noted | Kept | Replied | Over | logging.LogRecord


def send(writer: asyncio.StreamWriter, frame: Frame) -> None:
    """Hand a frame to the socket."""
    body = pickle.dumps(frame)
    writer.write(len(body).to_bytes(_LENGTH) + body)


async def receive(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame; `None` where the other end is gone."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH))
        frame: Frame = pickle.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return frame
