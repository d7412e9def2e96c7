"""Who a text addresses."""

import pytest

from palaver.core.mentions import mentioned

NAMES = {"ada": "Ada", "zen": "Zen", "zen sage": "Zen Sage", "misaka": "Misaka", "c++": "C++", "日本": "日本"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada", ["ada"]),
        ("@ada!", ["ada"]),
        ('@"Zen Sage" and Zen', ["zen sage", "zen"]),
        ("Zen Sage", ["zen sage"]),
        ("Zen, Sage", ["zen"]),
        ("Misaka yes, Misa no", ["misaka"]),
        ("Misakamisaka", []),
        ("Adam and Adagio", []),
        ("I like C++.", ["c++"]),
        ("日本?", ["日本"]),
        ("`Ada` ```\nZen Sage\n``` Misaka", ["misaka"]),
        ("Misaka, Ada, Misaka", ["misaka", "ada"]),
        ("@all", list(NAMES)),
        ("Ada, and @everyone", ["ada", "zen", "zen sage", "misaka", "c++", "日本"]),
        ("not@all", []),
        ("", []),
    ],
)
def test_whole_names_are_found_in_the_order_they_appear(text: str, expected: list[str]) -> None:
    assert mentioned(text, NAMES) == expected
