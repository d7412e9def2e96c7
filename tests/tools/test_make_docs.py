"""The pages that are generated are the ones that were committed."""

import ast
import json
import sys
from pathlib import Path

import pytest

from palaver.core.protocol import NACKS, Close

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import make_docs  # noqa: E402  # tools is no package

MEND = "run `python tools/make_docs.py` and commit what it writes"


def test_the_protocol_page_is_what_the_types_say() -> None:
    assert (ROOT / "docs/protocol.md").read_text(encoding="utf-8") == make_docs.protocol_page(), MEND


def test_the_floor_page_has_the_tables_that_the_code_has() -> None:
    text = (ROOT / "docs/floor.md").read_text(encoding="utf-8")
    assert text == make_docs.floor_page(text), MEND


def test_the_page_on_provenance_has_the_table_that_the_code_has() -> None:
    text = (ROOT / "docs/provenance.md").read_text(encoding="utf-8")
    assert text == make_docs.provenance_page(text), MEND


def test_every_close_code_has_a_meaning() -> None:
    assert set(make_docs.CLOSE_MEANINGS) == set(Close)


@pytest.mark.parametrize("place", [0, 1])
def test_the_schemas_are_json(place: int) -> None:
    blocks = make_docs.protocol_page().split("```json\n")[2:]
    assert "anyOf" in json.loads(blocks[place].split("```")[0])


def test_every_code_of_a_nack_is_in_the_table() -> None:
    used = set()
    for path in [*(ROOT / "palaver/core").rglob("*.py"), *(ROOT / "palaver/hub").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "nack"
            if isinstance(node, ast.Call) and named and len(node.args) > 2 and isinstance(node.args[2], ast.Constant):
                used.add(node.args[2].value)
    assert used == set(NACKS), "codes in use and in `protocol.NACKS`"
