"""Fixtures that every test may use."""

import os
from collections.abc import Iterator

import pytest

from palaver.models import registry
from tests.stubs import http_stub, ollama_stub, openai_stub

__all__ = ["http_stub", "ollama_stub", "openai_stub"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In CI, let a test of real processes that failed be tried once more: others may be at work on that machine.

    The summary names each that needed it.
    """
    if os.environ.get("CI") and config.pluginmanager.hasplugin("rerunfailures"):
        for item in items:
            if item.get_closest_marker("system"):
                item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(autouse=True)
def registered_providers() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = dict(registry._factories)
    yield
    registry._factories.clear()
    registry._factories.update(before)
