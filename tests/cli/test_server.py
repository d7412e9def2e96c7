"""The flags of a hub."""

import pytest

from palaver.cli.server import parser

WRONG = {
    "--port=99999": "argument --port: 99999 is not within 0 to 65535",  # listening takes it modulo 65536
    "--port=-1": "argument --port: -1 is not within 0 to 65535",
    "--max-rooms=0": "argument --max-rooms: 0 is below 1",
    "--origin=chat.example": "argument --origin: 'chat.example' is no origin; give scheme, host and port",
    "--origin=https://chat.example/page": "'https://chat.example/page' is no origin",
    "--origin=*": "'*' is no origin",
}


@pytest.mark.parametrize("flag", WRONG)
def test_a_value_that_cannot_be_is_told_with_its_flag(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([flag])
    assert ended.value.code == 2
    assert WRONG[flag] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("https://Chat.Example/", "https://chat.example"),
        ("https://chat.example:443", "https://chat.example"),
        ("http://chat.example:80", "http://chat.example"),
        ("http://chat.example:443", "http://chat.example:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("null", "null"),
        ("moz-extension://1f-2e", "moz-extension://1f-2e"),
    ],
)
def test_an_origin_is_kept_as_browsers_say_it(given: str, said: str) -> None:
    assert parser().parse_args(["--origin", given]).origin == [said]
