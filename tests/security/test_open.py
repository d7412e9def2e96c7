"""Who may listen beyond this machine."""

import pytest

from palaver.cli.server import _auth, parser
from palaver.core.errors import ConfigError
from palaver.hub.auth import SharedSecret
from palaver.hub.tokens import SignedOrShared

NAMES = ("PALAVER_TOKEN", "PALAVER_SECRET", "PALAVER_MODERATOR_TOKEN")


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "hub.example", ""])
def test_a_hub_beyond_this_machine_needs_a_secret(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = parser().parse_args(["--host", host])
    with pytest.raises(ConfigError, match="PALAVER_TOKEN or PALAVER_SECRET, or say --insecure"):
        _auth(asked)
    monkeypatch.setenv("PALAVER_MODERATOR_TOKEN", "boss")  # observers would still be let in by everybody
    with pytest.raises(ConfigError):
        _auth(asked)
    assert isinstance(_auth(parser().parse_args(["--host", host, "--insecure"])), SharedSecret)
    monkeypatch.setenv("PALAVER_TOKEN", "secret")
    assert isinstance(_auth(asked), SharedSecret)
    monkeypatch.setenv("PALAVER_SECRET", "x" * 32)
    assert isinstance(_auth(asked), SignedOrShared)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_nothing_is_asked(host: str) -> None:
    assert not _auth(parser().parse_args(["--host", host])).asks
