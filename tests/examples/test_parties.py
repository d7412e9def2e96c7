"""Every party among the examples can be started as it stands, or says what it needs."""

from pathlib import Path

import pytest
import yaml

from tests.examples.test_configs import CONFIGS, EXAMPLES
from tests.party.plans import planned

PARTIES = sorted(path for path in EXAMPLES.glob("*.yaml") if "clients" in (yaml.safe_load(path.read_text()) or {}))


def test_every_example_is_a_config_or_a_party() -> None:
    assert sorted(CONFIGS + PARTIES) == sorted(EXAMPLES.glob("*.yaml"))
    assert [path.stem for path in PARTIES] == ["debate", "research", "rollouts", "two_machines"]


@pytest.mark.parametrize("path", PARTIES, ids=lambda path: path.stem)
def test_every_party_can_be_planned(path: Path) -> None:
    made = planned(path.read_text())
    assert made.name == path.stem.replace("_", "-")
    assert made.url == "ws://127.0.0.1:8765"
    assert len(made.processes) > 2


def test_only_the_one_for_two_machines_leaves_this_one_and_only_it_needs_another_model() -> None:
    for path in PARTIES:
        processes = planned(path.read_text(), {"GPU_HOST": "box"}).processes
        assert {each.host for each in processes} == ({"", "box"} if path.stem == "two_machines" else {""})
        models = {each.argv[each.argv.index("--model") + 1] for each in processes if "--model" in each.argv}
        assert models <= ({"microsoft/phi-2"} if path.stem == "two_machines" else {"tiny"})
