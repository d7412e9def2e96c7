"""The page on scenes and evaluators says what runs."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palaver.evaluation import DIMENSIONS, PluginManager, Statistics
from palaver.scenes import ORDERS
from palaver.scenes.actions import TYPES
from tests.hubs import running

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def known_types() -> Iterator[None]:
    before = dict(PluginManager._types)
    yield
    PluginManager._types.clear()
    PluginManager._types.update(before)


async def test_its_python_blocks_run_one_after_another() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/evaluation.md", "exec"), names)
    async with running() as hub:
        log = await names["evening"](hub.url)
    assert log.error is None and log.turn_count == 2 and "Bob left" in log.reasoning


def test_it_names_every_order_action_dimension_and_figure() -> None:
    figures = [field.name for field in dataclasses.fields(Statistics) if field.name != "messages"]
    for name in (*ORDERS, *TYPES, *DIMENSIONS, *figures):
        assert f"`{name}`" in PAGE, name
    for one in DIMENSIONS.values():
        assert f"| `{one.name}` | {one.low} to {one.high} |" in PAGE
