"""`palaver client`: a model in a room, or several seats that share one model."""

import argparse
import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from palaver.cli.backends import Backend, add_model_flags, add_seat_flags, told_of
from palaver.cli.common import Parser, proxy_of, run_async, set_up, tls_of, token_of
from palaver.cli.lifetime import until_stopped
from palaver.cli.numbers import amount, whole
from palaver.cli.seats import Seat, adapters_of, seats_of
from palaver.core.protocol import Join, Status
from palaver.participants.link import Link
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The flags of a model client; names and defaults are those of LLM Party Chat where it has them."""
    flags = Parser(prog="client.py", description="A model in a room: it listens, and speaks when it has the floor.")
    flags.add_argument("--name", help="the model's name in the room (needed but with --persona or --personas)")
    add_model_flags(flags, model="tiny", backend="hf")
    flags.add_argument("--prompt-file", metavar="FILE", help="its personality; also looked for in prompts/")
    flags.add_argument("--initial-prompt", metavar="TEXT", help="its personality, given here; after that of the file")
    flags.add_argument(
        "--persona",
        action="append",
        default=[],
        metavar="NAME:FILE",
        help="a seat, or one more, in this process, sharing the model; may be repeated",
    )
    flags.add_argument(
        "--personas",
        type=Path,
        metavar="FILE.yaml",
        help="a list of seats in this process, sharing the model: name, prompt_file, initial_prompt, lora (an adapter "
        "of its own), temperature, max_generation_tokens, history_length, delay, seed",
    )
    flags.add_argument(
        "--max-generation-tokens", type=whole(1), default=100, metavar="N", help="tokens of a reply at most"
    )
    flags.add_argument("--history-length", type=whole(0), default=5, metavar="N", help="messages that it sees; 0: all")
    flags.add_argument(
        "--delay", type=amount, default=0.0, metavar="SECONDS", help="pause before each reply, in which it listens"
    )
    flags.add_argument("--seed", type=int, help="makes its replies the same in the same conversation")
    add_seat_flags(flags)
    return flags


def main(argv: Sequence[str]) -> int:
    """Take part until the room ends or a signal comes; exit code 0 then, else the reason on stderr."""
    flags = _parsed(argv)
    return run_async(until_stopped(_run(flags)))


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    flags = parser().parse_args(argv)
    if not (flags.name or flags.persona or flags.personas):
        parser().error("who sits there? --name NAME, --persona NAME:FILE or --personas FILE.yaml")
    if not flags.name and (flags.prompt_file or flags.initial_prompt):
        parser().error("--prompt-file and --initial-prompt are of the seat that --name gives")
    return flags


async def _run(flags: argparse.Namespace) -> int:
    set_up(flags, "palaver-client")
    seats = seats_of(flags)
    backend = Backend(flags, default="hf", adapters=adapters_of(seats, flags))
    try:
        return await _take_part(flags, seats, backend)
    finally:
        await backend.close()


async def _take_part(flags: argparse.Namespace, seats: Sequence[Seat], backend: Backend) -> int:
    async with contextlib.AsyncExitStack() as stack:
        participants = []
        for seat in seats:
            settings = _settings(flags, seat, backend)
            link = await stack.enter_async_context(_link(flags, seat.name, backend, settings))
            change = partial(backend.open, adapter=seat.adapter(flags))
            participants.append(Participant(link, settings, change_model=change))
        adapters = [seat.adapter(flags) for seat in seats]
        loading = asyncio.create_task(_load(flags.model, backend, list(zip(participants, adapters, strict=True))))
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


def _link(flags: argparse.Namespace, name: str, backend: Backend, settings: Settings) -> Link:
    about = f"{flags.model} ({backend.name}{f' on {flags.device}' if backend.name == 'hf' else ''})"
    join = Join(
        name=name,
        role="model",
        room=flags.room,
        token=token_of(flags),
        deltas=False,
        ready=False,
        about=about[:200],
        settings=told_of(flags, settings, backend),
    )
    return Link(flags.server, join, proxy=proxy_of(flags), tls=tls_of(flags))


def _settings(flags: argparse.Namespace, seat: Seat, backend: Backend) -> Settings:
    return Settings(
        persona=seat.persona,
        temperature=seat.setting("temperature", flags),
        max_tokens=seat.setting("max_generation_tokens", flags),
        history=seat.setting("history_length", flags),
        context_tokens=backend.context_tokens,
        delay=seat.setting("delay", flags),
        seed=seat.setting("seed", flags),
    )


async def _load(name: str, backend: Backend, sitting: Sequence[tuple[Participant, str]]) -> None:
    """Open the model while its seats are taken already; where that fails, they leave with the reason."""
    loop = asyncio.get_running_loop()

    def tell(text: str, progress: float | None) -> None:
        logger.info("%s", text)
        for participant, _ in sitting:
            participant.link.send(Status(state="loading", text=text[:500], progress=progress))

    def tell_from_thread(text: str, progress: float | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, text, progress)

    try:
        for participant, adapter in sitting:
            participant.ready(await backend.open(name, tell_from_thread, adapter=adapter))
    except Exception as error:
        for participant, _ in sitting:
            participant.finish(f"its model could not be loaded: {error}")
        raise
