"""`palaver up`: start a party of hub, models, simulated users and moderator from one file."""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from palaver.cli import parties
from palaver.cli.common import Parser, run_async
from palaver.cli.lifetime import until_stopped
from palaver.cli.numbers import amount
from palaver.cli.seats import listed
from palaver.config import loading
from palaver.core.errors import ConfigError, PalaverError
from palaver.party import scripts
from palaver.party.doors import Door
from palaver.party.opening import raise_party, stay
from palaver.party.party import Party
from palaver.party.plan import plan
from palaver.party.process import Plan
from palaver.party.schema import party_file
from palaver.party.state import Folder, Record
from palaver.party.telling import Telling
from palaver.party.tmux import Tmux

DOORS: Final = ("server", "client", "user-sim", "moderator")


def parser() -> argparse.ArgumentParser:
    """The flags of `palaver up`."""
    flags = Parser(prog="palaver up", description=__doc__)
    flags.add_argument("file", type=Path, metavar="PARTY.yaml", help="who takes part; see docs/launching.md")
    flags.add_argument(
        "--backend",
        choices=("tmux", "procs", "print"),
        help="panes of a tmux session, processes with log files, or only the commands on standard output "
        "(None: tmux where there is one and a terminal, else procs)",
    )
    flags.add_argument("--detach", action="store_true", help="come back when everybody is ready; the party goes on")
    flags.add_argument("--keep", action="store_true", help="leave the others up where one fails or all is said")
    flags.add_argument(
        "--wait", type=amount, default=900.0, metavar="SECONDS", help="for everybody to be ready, models loaded"
    )
    return flags


def main(argv: Sequence[str]) -> int:
    """Raise a party; exit code 0 where it went as it should."""
    return run_async(until_stopped(_up(parser().parse_args(argv))))


async def _up(flags: argparse.Namespace) -> int:
    made = read_plan(flags.file)
    if flags.backend == "print":
        print(scripts.shown(made, str(Path.cwd())))
        return 0
    telling = Telling(sys.stdout)
    party = await _prepare(made, flags.backend or parties.default_backend(), telling)
    try:
        return await _run(party, flags, telling)
    except asyncio.CancelledError:
        await _down(party, telling, "stopped")
        raise


def read_plan(path: Path) -> Plan:
    """The processes that a party file asks for; raises `ConfigError`."""
    document = loading.read(path, os.environ)
    party = party_file(document, name=parties.default_name(path))
    doors = {door: Door(door, import_module(f"palaver.cli.{door.replace('-', '_')}").parser()) for door in DOORS}
    return plan(
        party,
        document,
        doors,
        environ=os.environ,
        folder=str(Path.cwd()),
        python=sys.executable,
        free_port=_free_port() if party.server.flags.get("port") == 0 else 0,
        names_in=_names_in,
        sign=parties.signer() if party.server.url is None or not os.environ.get("PALAVER_TOKEN") else None,
    )


def _names_in(folder: str, file: str) -> list[str]:
    """Whose seats a file of personas has; raises `ConfigError` for one that cannot be used."""
    return [seat.name for seat in listed(Path(folder) / file)]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def _prepare(made: Plan, backend: str, telling: Telling) -> Party:
    """Note the party down before anything of it runs; raises `ConfigError` where it is up already."""
    folder = Folder(parties.home(), made.name)
    folder.make()
    is_ours = folder.lock()
    before = parties.known_party(made.name)
    if not is_ours or (before is not None and any(life.leader is not None for _, life in before.lives())):
        told = f"palaver attach {made.name}, palaver status {made.name}, palaver down {made.name}"
        raise ConfigError(f"party {made.name!r} is up already: {told}")
    if before is not None:
        telling.say(f"party {made.name!r} was left behind by an earlier start; it is taken down first")
        await before.down()
        folder.make()
        folder.lock()
    record = Record(plan=made, backend=backend, logs=parties.logs(made.name))
    stage = parties.stage(record)
    if isinstance(stage, Tmux):
        stage.size = shutil.get_terminal_size(stage.size) if sys.stdout.isatty() else stage.size
        if stage.exists():
            told = f"tmux kill-session -t {stage.session}"
            raise ConfigError(f"tmux has a session {stage.session} that no party here knows: {told}")
    folder.keep(record)
    return Party(folder, record, stage)


async def _run(party: Party, flags: argparse.Namespace, telling: Telling) -> int:
    stage = party.stage
    telling.say(f"party {party.plan.name} ({party.record.backend}), output in logs/{party.plan.name}/")
    try:
        await raise_party(party, telling, token=parties.watchers_token(), seconds=flags.wait, console=stage.terminal)
    except PalaverError as error:
        telling.say(str(error))
        if flags.keep:
            telling.say(f"the others are left up (--keep): palaver status {party.plan.name}")
        else:
            await _down(party, telling, "it failed")
        return 1
    if isinstance(stage, Tmux):
        return _show(party, stage, attach=parties.is_terminal() and not flags.detach)
    if flags.detach:
        telling.say(_hints(party.plan.name))
        return 0
    return await _stay(party, telling, keep=flags.keep)


def _hints(name: str) -> str:
    return f"palaver attach {name}   palaver status {name}   palaver logs NAME -f   palaver down {name}"


def _show(party: Party, stage: Tmux, *, attach: bool) -> int:
    """Show the session on this terminal; whoever leaves it finds the way back in what stands above."""
    if party.console is not None:
        stage.focus(party.console)
    print(_hints(party.plan.name), flush=True)
    if attach:
        command = stage.attaching(os.environ)
        os.execvp(command[0], command)
    return 0


async def _stay(party: Party, telling: Telling, *, keep: bool) -> int:
    """In the foreground: the moderator's console where there is one and a terminal, else news, until it is over."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, task.cancel)
    console = party.console
    if console is not None and parties.is_terminal():
        telling.say("The console opens; /quit ends the party." if not keep else "The console opens.")
        code = await _sit(party.folder.path / f"{console.slug}.sh")
    else:
        if console is not None:
            telling.say(f"{console.name} needs a terminal: palaver attach {party.plan.name}")
        telling.say(f"Ctrl-C ends the party, and so does: palaver down {party.plan.name}")
        code = await stay(party, telling)
    if not keep and party.folder.is_ours():
        await _down(party, telling, "it is over")
    return code


async def _sit(script: Path) -> int:
    """The moderator's console on this terminal, until it is left."""
    process = await asyncio.create_subprocess_exec("sh", str(script))
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _down(party: Party, telling: Telling, why: str) -> None:
    telling.say(f"{why}: party {party.plan.name} is taken down")
    await party.down()
    telling.say("no process is left behind")
