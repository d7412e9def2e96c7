"""Real small servers that speak the protocols we are a client of, each a context manager and a fixture.

`pytest_plugins = ["tests.stubs"]` in a top-level `conftest.py`, or `from tests.stubs import openai_stub`, brings
the fixtures; a test that wants other replies says `with OpenAIStub(["one", "two"]) as stub:`.
"""

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.stubs.http_stub import HTTPStub
    from tests.stubs.ollama_stub import OllamaStub
    from tests.stubs.openai_stub import OpenAIStub
    from tests.stubs.server import Failure, Request, StubServer

__all__ = ["Failure", "HTTPStub", "OllamaStub", "OpenAIStub", "Request", "StubServer"]

_HOMES = {"HTTPStub": "http_stub", "OllamaStub": "ollama_stub", "OpenAIStub": "openai_stub"}


def __getattr__(name: str) -> Any:
    """Import a stub when it is asked for: a stub that runs as a process must not have been imported before."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'server')}"), name)


@pytest.fixture
def openai_stub() -> Iterator["OpenAIStub"]:
    """F1, answering `Hello from the stub.`"""
    from tests.stubs.openai_stub import OpenAIStub

    with OpenAIStub() as stub:
        yield stub


@pytest.fixture
def ollama_stub() -> Iterator["OllamaStub"]:
    """F2, answering `Hello from the stub.`"""
    from tests.stubs.ollama_stub import OllamaStub

    with OllamaStub() as stub:
        yield stub


@pytest.fixture
def http_stub() -> Iterator["HTTPStub"]:
    """F6, with `/generate` and `/score`."""
    from tests.stubs.http_stub import HTTPStub

    with HTTPStub() as stub:
        yield stub
