"""`palaver user-sim`: a simulated user in a room, by default played by an OpenAI-compatible endpoint's model."""

import argparse
import logging
from collections.abc import Sequence
from typing import Final

from palaver.cli.backends import Backend, add_model_flags, add_seat_flags, prompt_text, told_of
from palaver.cli.common import Parser, proxy_of, run_async, set_up, tls_of, token_of
from palaver.cli.lifetime import until_stopped
from palaver.cli.numbers import amount, whole
from palaver.core.errors import PalaverError
from palaver.core.names import tidy_name
from palaver.core.protocol import Join
from palaver.participants.link import Link
from palaver.participants.settings import Settings
from palaver.participants.user_seat import UserSeat
from palaver.simulation import personas, records
from palaver.simulation.end_signals import SIGNALS
from palaver.simulation.in_room import UserInRoom
from palaver.simulation.personas import Persona
from palaver.simulation.room_record import rollout_of
from palaver.simulation.user_models import OpenAIUserModel, SimulatedUser, UserModel

logger = logging.getLogger(__name__)

_PERSONA: Final = (
    "You are {name}, a person who talks with AI assistants in a chat room. Write only your next message, in the "
    "first person, short and in everyday words, and stay in that role."
)
_HOW_TO_END: Final = "Once you have what you came for, write {signal} at the end of your last message."


def parser() -> argparse.ArgumentParser:
    """The flags of a simulated user."""
    flags = Parser(prog="user_sim.py", description="A simulated user in a room; it leaves when its turns are done.")
    flags.add_argument("--name", help="the user's name in the room (None: the persona's, else User)")
    add_model_flags(flags, model="gpt-4o-mini", backend="openai")
    flags.add_argument("--prompt-file", metavar="FILE", help="who the user is; also looked for in prompts/")
    flags.add_argument("--persona", metavar="FILE.yaml", help="who the user is, with a goal and a character")
    flags.add_argument("--history-length", type=whole(0), default=20, metavar="N", help="messages seen; 0: all")
    flags.add_argument("--delay", type=amount, default=0.0, metavar="SECONDS", help="pause before each message")
    flags.add_argument(
        "--max-turns", type=whole(0), default=10, metavar="N", help="messages after which it leaves; 0: never"
    )
    flags.add_argument(
        "--max-generation-tokens", type=whole(1), default=200, metavar="N", help="tokens of a message at most"
    )
    flags.add_argument(
        "--end-signal",
        action="append",
        metavar="TEXT",
        help=f"ends the conversation where the model writes it; may be repeated (None: {' '.join(SIGNALS)})",
    )
    flags.add_argument("--first-message", default="", metavar="TEXT", help="what it opens the conversation with")
    flags.add_argument("--seed", type=int, help="makes its messages the same in the same conversation")
    flags.add_argument(
        "--record",
        default="logs/rollouts.jsonl",
        metavar="FILE",
        help="the conversation is added to this file as a rollout when it is over; '' keeps none",
    )
    add_seat_flags(flags)
    return flags


def main(argv: Sequence[str]) -> int:
    """Take part until the turns are done, an end signal is written or a signal comes; exit code 0 then.

    One whose model fails again and again leaves with 1.
    """
    flags = parser().parse_args(argv)
    return run_async(until_stopped(_run(flags)))


async def _run(flags: argparse.Namespace) -> int:
    set_up(flags, "palaver-user-sim")
    if flags.record:
        records.check(flags.record)  # and not first when the conversation is over
    persona, name, signals = _who(flags)
    text = _instructions(flags, persona, name, signals)
    first = flags.first_message or (persona.first_message if persona else "")
    backend = Backend(flags, default="openai")
    user = UserInRoom(await _user(flags, backend, text), signals=signals, first_message=first)
    settings = Settings(
        persona=text,
        temperature=flags.temperature,
        max_tokens=flags.max_generation_tokens,
        history=flags.history_length,
        context_tokens=backend.context_tokens,
        delay=flags.delay,
        seed=flags.seed,
    )
    join = Join(
        name=name,
        role="user_sim",
        room=flags.room,
        token=token_of(flags),
        deltas=False,
        about=flags.model,
        settings=told_of(flags, settings, backend),
    )
    try:
        async with Link(flags.server, join, proxy=proxy_of(flags), tls=tls_of(flags)) as link:
            seat = UserSeat(link, settings, user, max_turns=flags.max_turns)
            try:
                await seat.run()
            finally:
                _keep(flags, seat, user)
    finally:
        await user.close()
        await backend.close()
    return 0


def _keep(flags: argparse.Namespace, seat: UserSeat, user: UserInRoom) -> None:
    """Add the conversation to the file of rollouts; a file that cannot be written is told and stops nothing."""
    if not flags.record or not (user.turns or user.error):
        return
    rollout = rollout_of(seat.room.messages, seat.link.name, user, max_turns=flags.max_turns, seed=flags.seed)
    try:
        records.add(flags.record, rollout)
    except PalaverError as error:
        logger.error("%s", error)


async def _user(flags: argparse.Namespace, backend: Backend, instructions: str) -> UserModel:
    """One of the simulation's user models, or any model in the user's role; raises `PalaverError`."""
    if backend.name == "openai":
        return OpenAIUserModel(flags.model, instructions, base_url=flags.api_base, **backend.wire)
    if isinstance(backend.factory, type) and issubclass(backend.factory, UserModel):
        return backend.factory(instructions)
    return SimulatedUser(await backend.open(flags.model, adapter=next(iter(flags.lora), "")), instructions)


def _who(flags: argparse.Namespace) -> tuple[Persona | None, str, tuple[str, ...]]:
    """The persona where there is one, the name, and what ends the conversation. Raises `ConfigError`."""
    persona = personas.load(flags.persona) if flags.persona else None
    name = flags.name or (persona.name if persona else "User")
    own = (persona.end_signal,) if persona else ()
    return persona, tidy_name(name), tuple(flags.end_signal or dict.fromkeys([*own, *SIGNALS]))


def _instructions(flags: argparse.Namespace, persona: Persona | None, name: str, signals: Sequence[str]) -> str:
    """Who the user is, and how it ends the conversation unless that is said already."""
    texts = [persona.system_prompt()] if persona else []
    texts += [prompt_text(flags.prompt_file)] if flags.prompt_file else []
    text = "\n\n".join(texts) or _PERSONA.format(name=name)
    if any(signal.casefold() in text.casefold() for signal in signals):
        return text
    return f"{text}\n\n{_HOW_TO_END.format(signal=signals[0])}"
