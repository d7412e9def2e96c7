"""`palaver moderator`: moderate a room from this terminal, or from a script on stdin."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from palaver.cli.common import (
    Parser,
    add_hub_flags,
    add_log_flags,
    proxy_of,
    read_text,
    run_async,
    set_up_logging,
    tls_of,
    token_of,
)
from palaver.core.errors import ConfigError, ProtocolError

if TYPE_CHECKING:
    from palaver.participants.console.paint import Paint
    from palaver.participants.console.plain import PlainFront
    from palaver.participants.console.terminal import TerminalFront

_LINK = "palaver.participants.link"
"""Its warnings are shown by the console itself."""


def parser() -> argparse.ArgumentParser:
    """The flags of the moderator's console."""
    flags = Parser(
        prog="moderator.py",
        description="The moderator's console. On a terminal: type to speak, /help lists the commands, Ctrl-P pauses. "
        "On a pipe: each line is said or done, and answered, before the next.",
    )
    flags.add_argument("--name", default="Moderator", help="the name to moderate under")
    add_hub_flags(flags)
    flags.add_argument("--hide-messages", action="store_true", help="begin with messages hidden; notices still show")
    flags.add_argument(
        "--console",
        choices=("auto", "plain", "rich"),
        default="auto",
        help="rich needs a terminal; plain works anywhere; auto takes what there is",
    )
    flags.add_argument(
        "--script", type=Path, metavar="FILE", help="carry out this file's lines as if they were piped in, then leave"
    )
    add_log_flags(flags, level="WARNING")
    return flags


def main(argv: Sequence[str]) -> int:
    """Moderate until the end of the input, /quit or Ctrl-C; a script with a refused command exits with 1."""
    arguments = parser().parse_args(argv)
    try:
        return run_async(_moderate(arguments))
    except asyncio.CancelledError:  # SIGTERM, see below
        return 0


async def _moderate(arguments: argparse.Namespace) -> int:
    from palaver.core.names import tidy_name
    from palaver.core.protocol import Join
    from palaver.participants.console.hiding import Hiding
    from palaver.participants.console.sitting import moderate

    set_up_logging(arguments.log_level, arguments.log_file)
    if arguments.log_level not in ("DEBUG", "INFO"):
        logging.getLogger(_LINK).setLevel(logging.CRITICAL)
    try:
        name = tidy_name(arguments.name)
    except ProtocolError as error:
        raise ConfigError(f"--name: {error}") from error
    _leave_on_sigterm()
    front, tls = _front(arguments), tls_of(arguments)
    join = Join(name=name, role="moderator", room=arguments.room, token=token_of(arguments), about="console")
    hiding = Hiding({"chat"} if arguments.hide_messages else set())
    try:
        await moderate(front, server=arguments.server, join=join, proxy=proxy_of(arguments), tls=tls, hiding=hiding)
    except BrokenPipeError:  # whoever read our output has seen enough
        return 0
    return 1 if getattr(front, "refused", 0) and _is_script(arguments) else 0


def _is_script(arguments: argparse.Namespace) -> bool:
    return arguments.script is not None or not sys.stdin.isatty()


def _front(arguments: argparse.Namespace) -> "PlainFront | TerminalFront":
    from palaver.participants.console.paint import Paint

    paint = Paint(colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if arguments.console == "rich" and not terminal:
        raise ConfigError("--console rich needs a terminal on stdin and stdout; use plain or auto")
    script = _is_script(arguments)
    if terminal and not script and arguments.console != "plain" and os.environ.get("TERM") != "dumb":
        from palaver.participants.console.terminal import TerminalFront

        return TerminalFront(paint)
    return _plain(arguments, paint, script=script)


def _plain(arguments: argparse.Namespace, paint: "Paint", *, script: bool) -> "PlainFront":
    from palaver.participants.console.plain import PlainFront

    lines = read_text(arguments.script, "--script").splitlines() if arguments.script is not None else None
    return PlainFront(paint, script=script, lines=lines)


def _leave_on_sigterm() -> None:
    """SIGTERM and a closed window end as Ctrl-C does: the terminal is left in order, the others see us go."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, lambda: task.cancel() if task is not None else None)
