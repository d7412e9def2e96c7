"""The table of docs/security.md: it is whole, its tests are there, and they notice when a check is taken out."""

from pathlib import Path

import pytest

from tests.security.mutations import ROOT, outcomes
from tests.security.rows import MEMBER, PAGE, SIDES, Row, filled, node_of

ROWS = [row for side in SIDES.values() for row in side]
SAMPLE = [row for row in MEMBER if row.attempt in ("join in another role", "take somebody's seat over")]
"""A few run here; all of them by `python -m tests.security.mutations`."""


def test_the_page_has_the_table_of_the_rows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text) == text, "run `python -m tests.security.rows`"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.attempt)
def test_a_row_has_its_test_and_its_change_fits_one_place(row: Row) -> None:
    path, _, name = node_of(row).partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(encoding="utf-8")
    assert (ROOT / row.path).read_text(encoding="utf-8").count(row.old) == 1
    assert row.old != row.new


@pytest.mark.system
def test_a_check_that_is_taken_out_is_noticed(tmp_path: Path) -> None:
    assert [what for _, what in outcomes(SAMPLE)] == ["noticed"] * len(SAMPLE)
