"""What the hub's tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.nats_server import NatsServer, nats_server


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A nats-server of the test's own."""
    async with nats_server(tmp_path / "nats") as server:
        yield server
