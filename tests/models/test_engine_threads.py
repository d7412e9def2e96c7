"""Engines on one machine share its cores."""

import os
from pathlib import Path

import pytest

from palaver.models.engine import threads
from palaver.models.engine.threads import Cores, usable_cores


@pytest.fixture(autouse=True)
def _twelve_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 12)


def test_one_engine_gets_all_cores_and_three_a_third_each(tmp_path: Path) -> None:
    one, two, three = (Cores(folder=tmp_path / "engines") for _ in range(3))
    assert [one.open(), two.open(), three.open()] == [12, 6, 4]
    two.close()
    three.close()
    assert one._share() == 12
    one.close()


@pytest.mark.parametrize(("parameters", "used"), [(1_363_360, 1), (15_000_000, 1), (40_000_000, 4), (10**9, 12)])
def test_a_small_model_gets_no_more_threads_than_it_can_use(tmp_path: Path, parameters: int, used: int) -> None:
    cores = Cores(folder=tmp_path, parameters=parameters)
    assert cores.open() == used
    cores.close()
    cores = Cores(3, folder=tmp_path, parameters=parameters)
    assert cores.open() == 3


def test_threads_that_were_asked_for_are_kept(tmp_path: Path) -> None:
    cores = Cores(3, folder=tmp_path)
    assert cores.open() == 3
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_nobody_holds_any_more_is_not_counted(tmp_path: Path) -> None:
    left = tmp_path / "4711-1"
    left.touch()
    cores = Cores(folder=tmp_path)
    assert cores.open() == 12
    assert not left.exists()
    cores.close()
    assert list(tmp_path.iterdir()) == []


def test_usable_cores_are_at_least_one() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
