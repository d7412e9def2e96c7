"""What the tests of rollouts share: the tiny random Llama, and no key of the person who runs them."""

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
    """Fixture F3 loaded once."""
    loaded = load(str(tiny_llama), threads=1)
    yield loaded
    loaded.close()


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor endpoints of the outer world."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
