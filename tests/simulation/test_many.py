"""Many rollouts: order, bounds, failures as data, and going on after a kill."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from palaver.core.errors import PalaverError
from palaver.models.model import ChatMessage
from palaver.models.openai_api import OpenAIModel
from palaver.models.scripted import ScriptedModel
from palaver.simulation import ChatSimulator, Rollout, RolloutFile
from palaver.simulation.records import add, load
from tests.simulation.killed_run import PREFIXES, SAMPLES
from tests.simulation.talks import QUESTION, numbered, shape, simulator
from tests.stubs import OpenAIStub

REPOSITORY = Path(__file__).parents[2]


async def test_rollouts_come_in_the_order_of_the_prefixes_n_of_each() -> None:
    rollouts = await simulator().rollouts(PREFIXES, 2, 1)
    assert [rollout[0]["content"] for rollout in rollouts] == [f"Question {n // 2}?" for n in range(16)]
    assert {shape(rollout) for rollout in rollouts} == {"UAUA"}
    assert len({rollout.seed for rollout in rollouts}) == len({rollout.id for rollout in rollouts}) == 16


def test_the_synchronous_form_waits() -> None:
    assert len(simulator().rollouts_sync(PREFIXES, max_turns=1)) == len(PREFIXES)


async def test_never_more_at_a_time_than_asked_for_and_as_many_as_that() -> None:
    running: set[str] = set()
    most = 0
    gate = asyncio.Event()

    class Watching:
        async def generate(self, messages: Sequence[ChatMessage]) -> str:
            nonlocal most
            running.add(messages[0]["content"])
            most = max(most, len(running))
            if most == 3:
                gate.set()
            await gate.wait()
            running.discard(messages[0]["content"])
            return "well"

    await ChatSimulator(Watching(), numbered("question")).rollouts(PREFIXES, 1, 1, concurrency=3)
    assert most == 3


async def test_failures_are_rollouts_too_and_stop_nobody() -> None:
    def script(prompt: Sequence[ChatMessage]) -> str | Exception:
        return RuntimeError("out of luck") if "Question 3?" in prompt[0]["content"] else "fine"

    rollouts = await simulator(assistant=ScriptedModel(script)).rollouts(PREFIXES, 1, 1)
    failed = [rollout for rollout in rollouts if rollout.failed]
    assert [(rollout[0]["content"], rollout.termination_reason) for rollout in failed] == [
        ("Question 3?", "agent_error")
    ]
    assert "out of luck" in (failed[0].error or "")
    assert len(rollouts) == len(PREFIXES)


async def test_a_wrong_prefix_is_refused_before_anything_runs() -> None:
    assistant = numbered("answer")
    with pytest.raises(ValueError, match="'robot'"):
        await simulator(assistant=assistant).rollouts([[QUESTION], [{"role": "robot", "content": ""}]])
    assert not assistant.prompts


async def test_what_is_in_the_file_is_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rollouts.jsonl"
    first = await simulator().rollouts(PREFIXES[:5], 1, 2, path=path)
    ran: list[Rollout] = []
    second = await simulator().rollouts(PREFIXES, 1, 2, path=path, on_rollout=ran.append)
    assert [rollout[0]["content"] for rollout in ran] == ["Question 5?", "Question 6?", "Question 7?"]
    assert [rollout.to_record() for rollout in second[:5]] == [rollout.to_record() for rollout in first]
    assert len(path.read_text().splitlines()) == 8


@pytest.mark.parametrize("change", ["turns", "seed", "limits", "user"])
async def test_other_settings_are_other_rollouts(tmp_path: Path, change: str) -> None:
    path = tmp_path / "rollouts.jsonl"
    await simulator().rollouts([[QUESTION]], 1, 1, path=path)
    ran: list[Rollout] = []
    other = simulator(numbered("other") if change == "user" else None, min_turns=int(change == "limits"))
    await other.rollouts(
        [[QUESTION]], 1, 1 + (change == "turns"), path=path, seed=int(change == "seed"), on_rollout=ran.append
    )
    assert len(ran) == 1 and len(load(path)) == 2


async def test_a_models_own_settings_are_part_of_what_a_rollout_is_known_by(tmp_path: Path) -> None:
    with OpenAIStub() as stub:
        for number, top_p in enumerate((0.5, 0.9, 0.5), 1):
            assistant = OpenAIModel("m", base_url=stub.base_url, extra={"top_p": top_p})
            await simulator(assistant=assistant).rollouts([[QUESTION]], 1, 0, path=tmp_path / "rollouts.jsonl")
            assert len(stub.posts) == min(number, 2)


async def test_failed_ones_are_run_again_on_demand_only(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    broken = ScriptedModel([ValueError("no"), ValueError("no"), "fine", "fine"], name="answer")
    await simulator(assistant=broken).rollouts([[QUESTION], PREFIXES[0]], 1, 0, path=path, concurrency=1)
    (kept,) = await simulator().rollouts([[QUESTION]], 1, 0, path=path)
    assert kept.failed
    again = await simulator().rollouts([[QUESTION], PREFIXES[0]], 1, 0, path=path, retry_failed=True)
    assert not any(rollout.failed for rollout in [*again, *load(path)])
    assert len(path.read_text().splitlines()) == 2


async def test_a_half_line_at_the_end_is_taken_off_and_its_rollout_run_again(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    whole = await simulator().rollouts(PREFIXES, 1, 1, path=path)
    raw = path.read_bytes()
    for cut in (1, 40, len(raw.splitlines()[-1])):
        path.write_bytes(raw[:-cut])
        assert len(load(path)) == 7
        ran: list[Rollout] = []
        again = await simulator().rollouts(PREFIXES, 1, 1, path=path, on_rollout=ran.append)
        assert [list(rollout) for rollout in again] == [list(rollout) for rollout in whole]
        assert len(ran) == 1 and len(load(path)) == len(path.read_bytes().splitlines()) == 8


async def test_a_wrong_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    await simulator().rollouts(PREFIXES[:2], 1, 1, path=path)
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{{}}\n{second}\n")
    with pytest.raises(PalaverError, match="line 2, is no rollout"):
        await simulator().rollouts(PREFIXES[:2], 1, 1, path=path)
    assert len(path.read_text().splitlines()) == 3


def test_two_runs_do_not_write_into_one_file(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "rollouts.jsonl"
    with RolloutFile(path), pytest.raises(PalaverError, match="another process"), RolloutFile(path):
        pass
    with RolloutFile(path):
        pass


@pytest.mark.parametrize("content", [b"notes", b"first\nlast", b'{"id": "q1", "prompt": "x"}\n{"id": "q2"'])
def test_a_file_that_holds_something_else_is_refused_and_stays_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(PalaverError, match=r"notes.txt.*(something else than rollouts|is no rollout)"):
        simulator().rollouts_sync(PREFIXES, path=path)
    assert path.read_bytes() == content


_ON_A_FULL_DISK = """
import resource, signal, sys
from palaver.simulation import records
from tests.simulation.killed_run import PREFIXES
from tests.simulation.talks import simulator

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))  # a line has some 900 bytes
for write in (
    lambda: simulator().rollouts_sync(PREFIXES, path=sys.argv[1]),
    lambda: records.add(sys.argv[1], simulator().rollout(PREFIXES[0])),
):
    try:
        write()
    except records.PalaverError as error:
        print(error)
"""


@pytest.mark.system
def test_a_full_disk_is_told_and_leaves_whole_lines(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    path = tmp_path / "rollouts.jsonl"
    told = subprocess.check_output([sys.executable, "-c", _ON_A_FULL_DISK, path], cwd=REPOSITORY, text=True)
    assert [line.split(": ")[0] for line in told.splitlines()] == [f"cannot add to {path}"] * 2
    assert path.read_bytes().endswith(b"}\n") and len(load(path)) == 1


def test_an_unfinished_line_does_not_spoil_the_one_that_is_added(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    path.write_bytes(b'{"id": "cut sho')
    rollout = simulator().rollout([QUESTION], 1)
    add(path, rollout)
    cut, whole = path.read_bytes().splitlines()
    assert cut == b'{"id": "cut sho' and json.loads(whole)["id"] == rollout.id


async def test_what_breaks_in_a_callback_is_raised_as_it_is() -> None:
    def broken(rollout: Rollout) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await simulator().rollouts(PREFIXES, 1, 1, on_rollout=broken)


def test_one_prefix_is_not_taken_for_several() -> None:
    with pytest.raises(ValueError, match="a prefix is a list of messages, not one dict"):
        simulator().rollouts_sync([QUESTION])  # type: ignore[list-item]


def test_a_record_gives_the_rollout_back() -> None:
    rollout = simulator(ScriptedModel(["Hm.", "[END]"])).rollout([QUESTION], 3, seed=4)
    again = Rollout.from_record(json.loads(json.dumps(rollout.to_record())))
    assert list(again) == list(rollout) and again.to_record() == rollout.to_record()
    assert again.user_turns == rollout.user_turns and again.usage == rollout.usage


def test_the_progress_is_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    simulator().rollouts_sync(PREFIXES, max_turns=0, show_progress=True)
    told = capsys.readouterr()
    assert "8/8" in told.err and not told.out


@pytest.mark.system
def test_a_run_that_is_killed_goes_on_with_none_twice_and_none_lost(tmp_path: Path) -> None:
    """The bar on kill -9: three kills at different moments, then to the end."""
    path = tmp_path / "rollouts.jsonl"
    expected = simulator().rollouts_sync(PREFIXES, SAMPLES, 2)
    seen: list[str] = []
    for done_before_kill in (1, 5, 9):
        seen += _run(path, done_before_kill)
    seen += _run(path, None)
    assert sorted(seen) == sorted(rollout.id for rollout in expected)
    assert sorted(json.dumps(list(rollout)) for rollout in load(path)) == sorted(
        json.dumps(list(rollout)) for rollout in expected
    )
    assert len(path.read_bytes().splitlines()) == len(expected)


def _run(path: Path, kill_after: int | None) -> list[str]:
    """The ids of what a run finished until it was killed with -9 after so many."""
    command = [sys.executable, "-m", "tests.simulation.killed_run", str(path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        done: list[str] = []
        for line in process.stdout:
            done.append(line.strip())
            if len(done) == kill_after:
                process.kill()
                break
            process.stdin.write("\n")
            process.stdin.flush()
    return done
