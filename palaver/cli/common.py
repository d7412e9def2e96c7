"""What several commands share: the log, the loop, the flags for reaching a hub."""

import argparse
import asyncio
import gc
import importlib
import logging
import os
import ssl
import sys
from collections.abc import Coroutine
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NoReturn

from palaver.core.errors import ConfigError, MissingExtra, PalaverError, ProtocolError
from palaver.core.names import room_name

logger = logging.getLogger(__name__)

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DEFAULT_SERVER: Final = "ws://127.0.0.1:8765"
_OTLP: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_COLOURS: Final = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}


def has_default(action: argparse.Action) -> bool:
    """Whether a flag has a default worth saying: not nothing, and not just the absence of a switch."""
    nothing = action.default is None or action.default is argparse.SUPPRESS or action.default in ("", [])
    return not nothing and not isinstance(action.default, bool)


class _Defaults(argparse.HelpFormatter):
    """Says a flag's default, where it has one worth saying."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        return f"{text} (default: %(default)s)" if has_default(action) and "default:" not in text else text


class Parser(argparse.ArgumentParser):
    """Shows defaults in its help and takes no shortened flags, so that a script means the same tomorrow."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Defaults, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """What is wrong, and which flag a mistyped one may mean; the usage of forty flags would hide it."""
        known = [flag for action in self._actions for flag in action.option_strings]
        _, unknown, words = message.partition("unrecognized arguments: ")
        meant = [near for word in words.split() for near in get_close_matches(word.split("=")[0], known, 1)]
        hint = f"; did you mean {', '.join(dict.fromkeys(meant))}?" if unknown and meant else ""
        self.exit(2, f"{self.prog}: error: {message}{hint}\n{self.prog} --help tells all flags\n")


def add_log_flags(parser: argparse.ArgumentParser, level: str = "INFO") -> None:
    """`--log-level` and `--log-file`."""
    parser.add_argument("--log-level", type=str.upper, choices=LEVELS, default=level, help="how much is logged")
    parser.add_argument("--log-file", type=Path, metavar="PATH", help="also log into this file (folders are made)")


def add_trace_flag(parser: argparse.ArgumentParser) -> None:
    """`--trace`."""
    parser.add_argument(
        "--trace",
        metavar="TARGET",
        help="OpenTelemetry spans of turns and replies: otlp, console or a file (none; otlp where "
        "OTEL_EXPORTER_OTLP_ENDPOINT is set)",
    )


def add_hub_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of everyone who joins a hub."""
    parser.add_argument("--server", default=DEFAULT_SERVER, metavar="URL", help="the hub, ws:// or wss://")
    parser.add_argument("--room", type=room, default="main", help="the room to join")
    parser.add_argument("--token", help="the room's token (better: environment variable PALAVER_TOKEN)")
    add_tls_ca_flag(parser)
    parser.add_argument(
        "--proxy",
        metavar="URL",
        help="reach the hub through this proxy (or PALAVER_PROXY, also with a password; none: directly)",
    )


def room(text: str) -> str:
    """For argparse: a room's name."""
    try:
        return room_name(text)
    except ProtocolError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def token_of(arguments: argparse.Namespace) -> str | None:
    """The token from the flag, else from `PALAVER_TOKEN`."""
    return arguments.token or os.environ.get("PALAVER_TOKEN") or None


def proxy_of(arguments: argparse.Namespace) -> str | None:
    """The proxy from the flag, else from `PALAVER_PROXY`."""
    return arguments.proxy or os.environ.get("PALAVER_PROXY") or None


def add_tls_ca_flag(parser: argparse.ArgumentParser) -> None:
    """`--tls-ca`."""
    parser.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="over wss:// trust the certificates of this file (PEM) only",
    )


def tls_of(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    """Whose certificates are trusted, `None` for those that this machine trusts; raises `ConfigError`."""
    if arguments.tls_ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=arguments.tls_ca)
    except ssl.SSLError:
        raise ConfigError(f"--tls-ca {arguments.tls_ca}: holds no certificate in PEM form") from None
    except OSError as error:
        raise ConfigError(f"--tls-ca {arguments.tls_ca}: {error.strerror}") from error


class _Coloured(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        colour = _COLOURS.get(record.levelname, "")
        return f"{colour}{text}\x1b[0m" if colour else text


def set_up_logging(level: str, file: Path | None = None) -> None:
    """Timestamps and, on a terminal, colours on stderr; the file gets plain text. Raises `ConfigError`."""
    plain = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    console = logging.StreamHandler()
    coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    console.setFormatter((_Coloured if coloured else logging.Formatter)(plain))
    handlers: list[logging.Handler] = [console]
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(file, encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"--log-file {file}: {error.strerror}") from error
        handlers[-1].setFormatter(logging.Formatter(plain))
    logging.basicConfig(level=level, handlers=handlers, force=True)
    for chatty in ("websockets", "httpx2"):  # a line for each frame, and for each request
        logging.getLogger(chatty).setLevel(max(logging.getLevelName(level), logging.WARNING))


def keep_libraries_quiet() -> None:
    """Keep a conversation server's libraries to warnings, whatever the level: they log whole frames, tokens and all."""
    for noisy in ("websockets", "asyncio", "httpcore2", "httpx2", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def set_up(arguments: argparse.Namespace, service: str) -> None:
    """Log and trace as the flags say. Raises `ConfigError` or `MissingExtra`."""
    set_up_logging(arguments.log_level, arguments.log_file)
    set_up_tracing(arguments.trace, service)


def set_up_tracing(target: str | None, service: str) -> None:
    """Begin to trace if `--trace` or the environment asks for it. Raises `ConfigError` or `MissingExtra`.

    A variable may be there for other programs' sake: with it alone, a missing package is a warning.
    """
    by_environment = any(map(os.environ.get, _OTLP))
    if not target and not by_environment:
        return
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", "2")  # seconds; a collector that is away holds up no exit
    try:
        otel = importlib.import_module("palaver.otel")
    except ImportError as error:
        missing = MissingExtra(error.name or "opentelemetry-sdk", "otel")
        if target:
            raise missing from error
        logger.warning("%s is set, but nothing is traced: %s", next(filter(os.environ.get, _OTLP)), missing)
        return
    otel.set_up(target or "otlp", service=service)


def let_the_collector_rest() -> None:
    """For a process that serves for long: what is loaded stays, and frames make no cycles, so the garbage collector
    need not look after every 700 of them. Its full run holds up everything: 0.3 s with 500 conversations."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def run_async(program: Coroutine[Any, Any, int]) -> int:
    """Run to the end on uvloop where it is installed; our own errors become a line on stderr and exit code 1 or 2."""
    try:
        return _run(program)
    except PalaverError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def _run(program: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(program)
    return uvloop.run(program)


def make(folder: Path, flag: str, *, mode: int = 0o777) -> None:
    """Make the folder that a flag names, where it is missing; raises `ConfigError` that says which."""
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConfigError(f"{flag} {folder}: is a file, not a folder") from error
    except OSError as error:
        raise ConfigError(f"{flag} {folder}: {error.strerror}") from error


def read_text(path: Path, flag: str) -> str:
    """The text of a file that a flag names; raises `ConfigError` that says which."""
    try:
        return path.read_text(encoding="utf-8-sig").strip()  # editors of Windows put a mark before it
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ConfigError(f"{flag} {path}: cannot be read: {why}") from error
