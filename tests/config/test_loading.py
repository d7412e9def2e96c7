"""YAML with places, placeholders and no second meaning."""

from pathlib import Path

import pytest

from palaver.config.loading import parse, read
from palaver.core.errors import ConfigError


def errors_of(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml", environ)
    return str(caught.value).splitlines()


def test_each_value_knows_its_line() -> None:
    document = parse("a: 1\nb:\n  - c: 2\n  - d: 3\n", "f.yaml", {})
    assert str(document.origin(("b", 1, "d"))) == "f.yaml, line 4"
    assert str(document.origin(("b", 1, "missing"))) == "f.yaml, line 4"
    assert document.values == {"a": 1, "b": [{"c": 2}, {"d": 3}]}


def test_a_duplicate_key_is_an_error_with_both_lines() -> None:
    assert errors_of("a:\n  b: 1\n  c: 2\n  b: 3\n") == [
        "f.yaml, line 4: a.b: duplicate key; it stands in line 2 already"
    ]


def test_a_key_that_overrides_a_merged_one_is_no_duplicate() -> None:
    document = parse("base: &base {a: 1, b: 2}\nmine:\n  <<: *base\n  b: 3\n", "f.yaml", {})
    assert document.values["mine"] == {"a": 1, "b": 3}


def test_a_placeholder_is_filled_in_anywhere_in_a_text() -> None:
    """A4.2"""
    document = parse('h: "Bearer ${KEY}!"\nd: ${NOT:-some where}\ne: "${NOT:-}"\n', "f.yaml", {"KEY": "k1"})
    assert document.values == {"h": "Bearer k1!", "d": "some where", "e": ""}
    assert document.raw["h"] == "Bearer ${KEY}!"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n: ${N}", 20),
        ('n: "${N}"', "20"),
        ("n: x${N}", "x20"),
        ("n: ${F}", 0.5),
        ("n: ${B}", True),
        ("n: ${Z}", "007"),
        ("n: ${BIG}", "1.10"),
        ("n: ${INJECTED}", "a: [b"),
    ],
)
def test_a_placeholder_is_a_number_only_where_nothing_is_lost(text: str, value: object) -> None:
    environ = {"N": "20", "F": "0.5", "B": "true", "Z": "007", "BIG": "1.10", "INJECTED": "a: [b"}
    filled = parse(text, "f.yaml", environ).values["n"]
    assert filled == value
    assert type(filled) is type(value)


def test_a_variable_that_is_not_set_is_named_with_its_key_and_line() -> None:
    """A4.2"""
    assert errors_of('models:\n  m:\n    api_key: ${NOPE}\n    x: "${EMPTY}"\n', EMPTY="") == [
        "f.yaml, line 3: models.m.api_key: environment variable NOPE is not set; set it, or write ${NOPE:-default}",
        "f.yaml, line 4: models.m.x: environment variable EMPTY is empty; set it, or write ${EMPTY:-default}",
    ]


def test_a_literal_placeholder_is_written_with_two_dollars() -> None:
    assert parse("a: $${KEY} costs $5", "f.yaml", {}).values["a"] == "${KEY} costs $5"


@pytest.mark.parametrize("text", ["a: ${", "a: ${1X}", 'a: "${A:-${B}}"', 'a: "${A:?error}"'])
def test_half_a_placeholder_is_an_error(text: str) -> None:
    assert "that is no placeholder" in errors_of(text)[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "f.yaml, line 1, column 6"),
        ("a: b: c", "f.yaml, line 1, column 5"),
        ("- a\n- b\n", "f.yaml, line 1: a config is `key: value` lines, not a list"),
        ("a: {b: ${C}}", "within { } and [ ] a placeholder needs quotes"),
        ("just text", "not a single value"),
        ("? [a, b]\n: 1\n", "line 1: a key must be a word, not a list"),
        ("a: &x [1, *x]", "an alias that contains itself"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: " + "[" * 5000, "f.yaml: its lists or sections lie too deep in each other"),
        ("a: 1\n---\nb: 2\n", "f.yaml, line 2"),
        ("b: 1\na: \x01", "f.yaml, line 2: the character '\\x01' cannot stand in YAML"),
    ],
)
def test_what_is_no_config_says_where(text: str, said: str) -> None:
    assert said in errors_of(text)[0]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_nothing(text: str) -> None:
    assert parse(text, "f.yaml", {}).values == {}


def test_a_mark_at_the_beginning_of_a_file_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("a: 1\n", encoding="utf-8-sig")
    assert read(path, {}).values == {"a": 1}


def test_a_version_that_looks_like_a_date_stays_text() -> None:
    assert parse("v: 2024-10-21", "f.yaml", {}).values["v"] == "2024-10-21"
