"""Fixtures that every test may use."""

from collections.abc import Iterator

import pytest

from palaver.models import registry
from tests.stubs import http_stub, ollama_stub, openai_stub

__all__ = ["http_stub", "ollama_stub", "openai_stub"]


@pytest.fixture(autouse=True)
def registered_providers() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = dict(registry._factories)
    yield
    registry._factories.clear()
    registry._factories.update(before)
