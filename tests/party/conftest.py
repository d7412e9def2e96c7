"""What the launcher's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.party.parties import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A folder for parties."""
    home = Home(tmp_path, {})
    yield home
    home.kill_all()
