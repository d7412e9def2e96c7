"""`palaver client`: a model in a room, or several seats that share one model."""

import argparse
import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from palaver.cli.backends import (
    Backend,
    add_local_flags,
    add_model_flags,
    amount,
    at_least,
    prompt_text,
)
from palaver.cli.common import (
    Parser,
    add_hub_flags,
    add_log_flags,
    add_trace_flag,
    run_async,
    set_up_logging,
    set_up_tracing,
    token_of,
)
from palaver.cli.lifetime import until_stopped
from palaver.core.errors import ConfigError
from palaver.core.message import key_of
from palaver.core.protocol import Join, Status, tidy_name
from palaver.participants.link import Link
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings

logger = logging.getLogger(__name__)

_PERSONA: Final = (
    "You are {name}, talking with others in a chat room. Answer in one to three short sentences. "
    "Speak only for yourself and never put a name before your words."
)


class _Seat(NamedTuple):
    name: str
    persona: str


def parser() -> argparse.ArgumentParser:
    """The flags of a model client; names and defaults are those of LLM Party Chat where it has them."""
    flags = Parser(prog="client.py", description="A model in a room: it listens, and speaks when it has the floor.")
    flags.add_argument("--name", required=True, help="the model's name in the room")
    add_model_flags(flags, model="tiny", backend="hf")
    flags.add_argument("--prompt-file", metavar="FILE", help="its personality; also looked for in prompts/")
    flags.add_argument("--initial-prompt", metavar="TEXT", help="its personality, given here; after that of the file")
    flags.add_argument(
        "--persona",
        action="append",
        default=[],
        metavar="NAME:FILE",
        help="one more seat in this process, sharing the model; may be repeated",
    )
    flags.add_argument(
        "--max-generation-tokens", type=at_least(1), default=100, metavar="N", help="tokens of a reply at most"
    )
    flags.add_argument(
        "--history-length", type=at_least(0), default=5, metavar="N", help="messages that it sees; 0: all"
    )
    flags.add_argument(
        "--delay", type=amount, default=0.0, metavar="SECONDS", help="pause before each reply, in which it listens"
    )
    flags.add_argument("--seed", type=int, help="makes its replies the same in the same conversation")
    add_hub_flags(flags)
    add_local_flags(flags)
    add_log_flags(flags)
    add_trace_flag(flags)
    return flags


def main(argv: Sequence[str]) -> int:
    """Take part until the room ends or a signal comes; exit code 0 then, else the reason on stderr."""
    flags = parser().parse_args(argv)
    return run_async(until_stopped(_run(flags)))


async def _run(flags: argparse.Namespace) -> int:
    set_up_logging(flags.log_level, flags.log_file)
    set_up_tracing(flags.trace, "palaver-client")
    seats = _seats(flags)
    backend = Backend(flags, default="hf")
    try:
        return await _take_part(flags, seats, backend)
    finally:
        await backend.close()


def _seats(flags: argparse.Namespace) -> list[_Seat]:
    """Who sits where; raises `ConfigError` naming the file that cannot be read."""
    texts = [prompt_text(flags.prompt_file)] if flags.prompt_file else []
    texts += [flags.initial_prompt] if flags.initial_prompt else []
    name = tidy_name(flags.name)
    seats = [_Seat(name, "\n\n".join(texts) or _PERSONA.format(name=name))]
    for persona in flags.persona:
        name, colon, path = persona.partition(":")
        if not colon or not path:
            raise ConfigError(f"--persona {persona!r} must be NAME:FILE")
        seats.append(_Seat(tidy_name(name), prompt_text(path)))
    if len({key_of(seat.name) for seat in seats}) < len(seats):
        raise ConfigError("--persona: every seat needs a name of its own")
    return seats


async def _take_part(flags: argparse.Namespace, seats: Sequence[_Seat], backend: Backend) -> int:
    async with contextlib.AsyncExitStack() as stack:
        participants = []
        for seat in seats:
            link = await stack.enter_async_context(_link(flags, seat.name, backend))
            settings = _settings(flags, seat.persona, backend)
            participants.append(Participant(link, settings, change_model=backend.open))
        loading = asyncio.create_task(_load(flags.model, backend, participants))
        try:
            results = await asyncio.gather(*(each.run() for each in participants), return_exceptions=True)
        finally:
            loading.cancel()
            await asyncio.wait([loading])
    failures = [result for result in results if isinstance(result, BaseException)]
    if not loading.cancelled() and (error := loading.exception()) is not None:
        failures.insert(0, error)
    for failure in failures[1:]:
        logger.error("%s", failure)
    if failures:
        raise failures[0]
    return 0


def _link(flags: argparse.Namespace, name: str, backend: Backend) -> Link:
    about = f"{flags.model} ({backend.name}{f' on {flags.device}' if backend.name == 'hf' else ''})"
    join = Join(
        name=name,
        role="model",
        room=flags.room,
        token=token_of(flags),
        deltas=False,
        ready=False,
        about=about[:200],
    )
    return Link(flags.server, join, proxy=flags.proxy)


def _settings(flags: argparse.Namespace, persona: str, backend: Backend) -> Settings:
    return Settings(
        persona=persona,
        temperature=flags.temperature,
        max_tokens=flags.max_generation_tokens,
        history=flags.history_length,
        context_tokens=backend.context_tokens,
        delay=flags.delay,
        seed=flags.seed,
    )


async def _load(name: str, backend: Backend, participants: Sequence[Participant]) -> None:
    """Open the model while its seats are taken already; where that fails, they leave with the reason."""
    loop = asyncio.get_running_loop()

    def tell(text: str, progress: float | None) -> None:
        logger.info("%s", text)
        for participant in participants:
            participant.link.send(Status(state="loading", text=text[:500], progress=progress))

    def tell_from_thread(text: str, progress: float | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, text, progress)

    try:
        for participant in participants:
            participant.ready(await backend.open(name, tell_from_thread))
    except Exception as error:
        for participant in participants:
            participant.finish(f"its model could not be loaded: {error}")
        raise
