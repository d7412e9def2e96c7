"""Conversations as a service: an HTTP API and a Python API over a hub in the same process."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palaver.api.compose import create_server

__all__ = ["create_server"]


def __getattr__(name: str) -> Any:
    """`create_server`, loaded when it is asked for: it brings models and evaluators along."""
    if name == "create_server":
        from palaver.api.compose import create_server

        return create_server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
