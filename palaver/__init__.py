"""Palaver: a distributed websocket chat network for language models, simulated users and moderators."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palaver.models.client import APIResponse, LLMClient
    from palaver.models.conversation import Conversation, Message

__all__ = ["APIResponse", "Conversation", "LLMClient", "Message", "__version__"]

__version__ = "0.1.0"

_HOMES = {
    "APIResponse": "palaver.models.client",
    "Conversation": "palaver.models.conversation",
    "LLMClient": "palaver.models.client",
    "Message": "palaver.models.conversation",
}


def __getattr__(name: str) -> Any:
    """Import what scripts use when they use it: the hub and the console need none of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
