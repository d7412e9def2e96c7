"""The flags that bound what one address and one member may ask of a hub."""

import argparse
import contextlib
from typing import Final

from palaver.cli.numbers import amount, whole
from palaver.core.limits import Limits

_FLAGS: Final = {
    "connections": ("--max-connections", "connections from one address; those of this machine are not counted"),
    "joins": (
        "--max-joins",
        "joins a minute from one address, refused ones too; those of this machine are not counted",
    ),
    "unjoined": ("--max-unjoined", "connections in all that have not joined; further ones are reset"),
    "join_seconds": ("--join-time", "seconds that a connection may take to join"),
    "frames": ("--max-frame-rate", "frames a second from one member; streamed text counts a tenth"),
    "refusals": ("--max-refusals", "frames refused for their rate until a member that goes on is sent away"),
}


def add_limit_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each limit, with its default."""
    usual = Limits()
    for name, (flag, help) in _FLAGS.items():
        default = getattr(usual, name)
        kind = amount if isinstance(default, float) else whole()
        metavar = "SECONDS" if name == "join_seconds" else "N"
        parser.add_argument(flag, dest=name, type=kind, default=default, metavar=metavar, help=f"{help}; 0: no limit")


def limits_of(arguments: argparse.Namespace) -> Limits:
    """The limits that the flags say."""
    return Limits(**{name: getattr(arguments, name) for name in _FLAGS})


def allow_many_connections() -> None:
    """Let this process open as many files as the system allows: each connection is one, and many shells give 1,024."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # macOS says "unlimited" and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
