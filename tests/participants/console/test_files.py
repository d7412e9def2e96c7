"""Local files travel as text."""

from pathlib import Path

import pytest

from palaver.core.commands import parse
from palaver.core.errors import CommandError
from palaver.core.steering.steer import check_params
from palaver.participants.console.files import with_files

NAMES = ["Zen Sage", "Ada"]
DEBATE = """
phases:
  - name: opening
    speakers: [Zen Sage, Ada]
    turns: 1
  - name: rebuttal
    turns: 2
"""


def test_a_personality_is_read_here_and_understood_by_the_hub(tmp_path: Path) -> None:
    text = 'You are Zen Sage.\nYou say "hm", don\'t you? a=b $HOME \\ `x`'
    (tmp_path / "sage two.txt").write_text(f"{text}\n")
    line = with_files(f"/set zen persona='{tmp_path}/sage two.txt' temperature=0.2", NAMES)
    assert parse(line, NAMES).values == {"name": "Zen Sage", "pairs": {"persona": text, "temperature": 0.2}}


def test_a_debate_is_read_here_and_taken_by_the_policy(tmp_path: Path) -> None:
    (tmp_path / "debate.yaml").write_text(DEBATE)
    line = with_files(f"/policy debate file={tmp_path}/debate.yaml delay=2", NAMES)
    pairs = parse(line, NAMES).values["pairs"]
    assert pairs["delay"] == 2
    assert check_params("debate", pairs)["phases"] == [
        {"name": "opening", "speakers": ["Zen Sage", "Ada"], "turns": 1},
        {"name": "rebuttal", "turns": 2},
    ]


@pytest.mark.parametrize(
    "line", ["/pause", "/w Ada a=b", "/policy", "/policy open max_in_a_row=3", "/set Ada", "/sys persona=x", "/who"]
)
def test_other_commands_travel_as_they_were_typed(line: str) -> None:
    assert parse(with_files(line, NAMES), NAMES) == parse(line, NAMES) if line != "/set Ada" else True
    if "=" not in line or not line.startswith(("/set", "/policy")):
        assert with_files(line, NAMES) == line


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        ("", "is empty"),
        ("a: [", "is no YAML"),
        ("speakers: x", "must hold `phases:`"),
        ("phases: []", "must hold `phases:`"),
        ("phases: [{}]\ntopic: x", "must hold `phases:`"),
    ],
)
def test_a_file_that_will_not_do_is_refused_by_name(content: str | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "debate.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CommandError, match=r"debate\.yaml") as raised:
        with_files(f"/policy debate file={path}", NAMES)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    "phases",
    ["[1]", '[{"speaker":["Ada"]}]', '[{"speakers":"Ada"}]', '[{"speakers":[1]}]', '[{"turns":0}]', '[{"turns":true}]'],
)
def test_the_hub_refuses_phases_that_would_upset_the_debate(phases: str) -> None:
    with pytest.raises(CommandError, match="phase 1"):
        check_params("debate", parse(f"/policy debate phases='{phases}'", NAMES).values["pairs"])
