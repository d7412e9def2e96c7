"""The command line: the only reader of argv and environment, the only place that builds objects.

Each command is a module with `parser()` and `main(argv) -> exit code`, imported only when it is asked for, so that
`--help` of a hub or a console loads neither torch nor openai.
"""

import atexit
import logging
import os
import select
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from io import TextIOWrapper
from typing import Final, NoReturn

COMMANDS: Final = {
    "server": "run a hub",
    "client": "run a model in a room",
    "moderator": "moderate a room from this terminal",
    "user-sim": "run a simulated user in a room",
    "demo": "hub, two models and a simulated user on this machine, at once",
    "chat": "talk to one model, without a hub",
    "up": "start a party from one file: hub, models, simulated users, moderator",
    "down": "end a party and all of its processes",
    "status": "how the processes of a party are",
    "attach": "sit down at a party that is up",
    "restart": "start one process of a party again",
    "logs": "what a process of a party printed",
    "api": "conversations over HTTP: hub, models and evaluators in one process",
    "token": "make a signed token: who may join, as what, where and until when",
    "check": "say whether a config can be used",
    "export": "a recorded conversation as HTML, Markdown, CSV, training data, …",
    "import": "a transcript of an IRC log or of OpenAI messages",
    "replay": "run a recorded conversation again, its models' replies from the record",
    "fork": "a new room from the beginning of a recorded one",
    "diff": "two conversations beside each other",
}

_MODULES: Final = {"import": "importing"}
"""Commands whose module cannot bear their name."""
_UNREAD: Final = 141
"""How a shell calls the end of a program whose output nobody reads (SIGPIPE)."""


def main(argv: Sequence[str] | None = None) -> int:
    """`palaver COMMAND …`; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in COMMANDS:
        return run(arguments[0], arguments[1:])
    lines = [f"  {name:<10} {summary}" for name, summary in COMMANDS.items()]
    usage = "\n".join(["usage: palaver COMMAND [--help]", "", "commands:", *lines])
    if arguments and arguments[0] in ("-V", "--version"):
        from palaver import __version__

        print(f"palaver {__version__}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        return 0
    print(f"palaver: command {arguments[0]!r} is unknown\n{usage}", file=sys.stderr)
    return 2


def run(command: str, argv: Sequence[str] | None = None) -> int:
    """One command, as its own door calls it; Ctrl-C is an ordinary way to end it."""
    try:
        module = import_module(f"palaver.cli.{_MODULES.get(command, command.replace('-', '_'))}")
        return int(module.main(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return 0


def door(command: str | None = None) -> NoReturn:
    """Run a command, or the one that argv names, and end the process: what the programs call, and nothing else."""
    end_with(main if command is None else partial(run, command))


def end_with(program: Callable[[], int]) -> NoReturn:
    """Call `program` and end the process with the exit code that it returns."""
    code: int | None = None
    _open_what_is_closed()
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, TextIOWrapper):  # a locale without emoji shows a ? for them, and takes any byte
            stream.reconfigure(errors="replace")
    atexit.register(lambda: _leave(code))  # registered first, called last
    try:
        try:
            code = program()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _UNREAD
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Standard streams that whoever started us has closed (`>&-`) lead nowhere, else a socket gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # each gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123  # for as long as we run


def _is_unread() -> bool:
    """Whether nobody reads our output any more: `palaver export … | head`."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _leave(code: int | None) -> None:
    """End at once where torch is loaded, all else being closed by now.

    Python would take torch down, for up to a second of processor time, and torch aborts the process where one of its
    threads still computes. Without a code (a mistake of ours) it ends as ever.
    """
    if code is None or "torch" not in sys.modules:
        return
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # whoever read them is gone: Python has an exit code for that
        return
    os._exit(code)
