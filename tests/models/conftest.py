"""What the tests of models share: the tiny random Llama, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from palaver.models.hf import LocalWeights, load
from tests.models.tiny_llama import save_tiny_llama


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fixture F3."""
    return save_tiny_llama(tmp_path_factory.mktemp("tiny_llama"))


@pytest.fixture(scope="session")
def weights(tiny_llama: Path) -> Iterator[LocalWeights]:
    """Fixture F3 loaded once, for tests that leave no trace in it but cached conversations."""
    loaded = load(str(tiny_llama), threads=1)
    yield loaded
    loaded.close()
