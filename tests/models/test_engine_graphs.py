"""Steps over seats, recorded or not, give what a pass over each conversation alone gives."""

import itertools
import logging
import random

import pytest
import torch

from palaver.models.engine import seats
from palaver.models.engine.graphs import GraphDecoder
from palaver.models.engine.rows import BufferRow
from palaver.models.engine.runners import RaggedRunner, Work
from palaver.models.engine.seats import capacity_for
from palaver.models.engine.trial import runner_for
from tests.models.test_engine_runners import ARCHITECTURES, CPU, made, plain, tokens

needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
DEVICES = [pytest.param("cpu", id="cpu"), pytest.param("cuda", id="card", marks=needs_card)]


def seated(model: torch.nn.Module, device: str = "cpu", limit: int = 1 << 30) -> RaggedRunner:
    """A runner whose single tokens go over seats; on a card they are recorded."""
    where = torch.device(device, 0) if device == "cuda" else CPU
    runner_for(model.to(where), where, "ragged")
    return RaggedRunner(model, where, graphs=GraphDecoder(model, where, limit, record=device == "cuda"))


def sitting(runner: RaggedRunner) -> GraphDecoder:
    assert runner._graphs is not None and runner._graphs.is_open
    return runner._graphs


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_replies_that_join_leave_and_come_back_agree_with_transformers(name: str, device: str) -> None:
    model = made(ARCHITECTURES[name]())
    talks = [tokens(60, seed) for seed in range(4)]
    with torch.inference_mode():
        expected = [[plain(model, talk[:end]) for end in range(1, 61)] for talk in talks]
        runner = seated(model, device)
        rows = [runner.new_row() for _ in talks]
        chance = random.Random(name)
        for _ in range(60):
            chosen = chance.sample(range(4), chance.randrange(1, 5))
            work = []
            for number in chosen:
                row = rows[number]
                if len(row.tokens) > 40 or chance.random() < 0.1:
                    row.crop(chance.randrange(len(row.tokens) + 1))
                start = len(row.tokens)
                count = chance.randrange(1, 9) if chance.random() < 0.2 else 1
                work.append(Work(row, talks[number][start : start + count]))
            found = runner.forward(work).cpu()
            for number, mine in zip(chosen, found, strict=True):
                theirs = expected[number][len(rows[number].tokens) - 1]
                torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)
    if device == "cpu" or name != "gpt-oss with sinks":  # experts may be chosen in a way that cannot be recorded
        sitting(runner)


@pytest.mark.parametrize("device", DEVICES)
def test_a_conversation_that_outgrows_its_seat_gets_a_larger_one(device: str) -> None:
    model = made(ARCHITECTURES["llama"]())
    model.config.max_position_embeddings = 1024
    long, short = tokens(300, 1), tokens(30, 2)
    with torch.inference_mode():
        expected = [plain(model, long), plain(model, short)]
        runner = seated(model, device)
        one, two = runner.new_row(), runner.new_row()
        runner.forward([Work(one, long[:250]), Work(two, short[:5])])
        for place in range(250, 275):
            runner.forward([Work(one, [long[place]]), Work(two, [short[place - 245]])])
        capacity = sitting(runner)._seats.capacity
        for place in range(275, 300):
            found = runner.forward([Work(one, [long[place]])]).cpu()
        torch.testing.assert_close(found[0], expected[0], atol=1e-3, rtol=1e-3)
        again = runner.forward([Work(two, [9])])
        two.crop(29)
        assert not torch.allclose(again.cpu()[0], expected[1], atol=1e-3)
        torch.testing.assert_close(runner.forward([Work(two, short[29:])]).cpu()[0], expected[1], atol=1e-3, rtol=1e-3)
    assert capacity == 384
    assert sitting(runner)._seats.capacity <= 384


def test_seats_waste_at_most_a_third() -> None:
    capacities = sorted({capacity_for(count) for count in range(1, 5000)})
    assert capacities[:6] == [256, 384, 512, 768, 1024, 1536]
    assert all(capacity_for(count) >= count for count in range(1, 5000))
    assert all(later <= 1.5 * earlier for earlier, later in itertools.pairwise(capacities))


def test_more_than_the_memory_allows_goes_through_a_pass() -> None:
    model = made(ARCHITECTURES["llama"]())
    a_token = 2 * 2 * 8 * 4 * 4  # keys and values, heads, their size, bytes, layers
    talk = tokens(20, 3)
    with torch.inference_mode():
        expected = plain(model, talk)
        runner = seated(model, limit=256 * 2 * a_token)
        rows = [runner.new_row() for _ in range(3)]
        runner.forward([Work(row, talk[:18]) for row in rows])
        runner.forward([Work(row, talk[18:19]) for row in rows[:2]])
        assert [row.stand_up is not None for row in rows] == [True, True, False]
        runner.forward([Work(rows[2], talk[18:19])])
        for mine in runner.forward([Work(row, talk[19:]) for row in rows]):
            torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)
        assert [row.stand_up for row in rows] == [None, None, None]
    sitting(runner)


def test_not_a_number_that_one_conversation_left_in_a_seat_spoils_no_other() -> None:
    model = made(ARCHITECTURES["llama"]())
    talk = tokens(20, 4)
    with torch.inference_mode():
        expected = plain(model, talk)
        runner = seated(model)
        broken, sound = runner.new_row(), runner.new_row()
        runner.forward([Work(broken, tokens(50, 5)), Work(sound, talk[:19])])
        for layer, (keys, values) in broken.held().items():
            broken.put(layer, 0, keys * float("nan"), values * float("nan"))
        assert runner.forward([Work(broken, [7])]).isnan().all()
        torch.testing.assert_close(runner.forward([Work(sound, talk[19:])])[0], expected, atol=1e-4, rtol=1e-4)


def test_a_step_that_fails_is_computed_in_a_pass_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = made(ARCHITECTURES["llama"]())
    talk = tokens(20, 6)

    def fail(self: GraphDecoder, width: int) -> torch.Tensor:
        raise RuntimeError("operation not permitted when stream is capturing")

    with torch.inference_mode():
        expected = plain(model, talk)
        runner = seated(model)
        row, other = runner.new_row(), runner.new_row()
        runner.forward([Work(row, talk[:10]), Work(other, talk[:5])])
        runner.forward([Work(row, talk[10:11])])
        monkeypatch.setattr(GraphDecoder, "_compute", fail)
        with caplog.at_level(logging.WARNING):
            for place in range(11, 20):
                found = runner.forward([Work(row, [talk[place]]), Work(other, [7])])
        torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-4)
    assert caplog.text.count("steps are not recorded on cpu") == 1


def test_seats_without_memory_are_tried_again_with_less(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(ARCHITECTURES["llama"]())
    talk = tokens(20, 7)
    full = iter([True, False])

    def room(like: torch.Tensor, count: int) -> torch.Tensor:
        if next(full, False):
            raise torch.cuda.OutOfMemoryError("no memory left")
        return like.new_empty(like.shape[0], count, like.shape[2])

    monkeypatch.setattr(seats, "_room", room)
    with torch.inference_mode():
        expected = plain(model, talk)
        runner = seated(model, limit=1 << 20)
        row = runner.new_row()
        runner.forward([Work(row, talk[:17])])
        sat = []
        for place in range(17, 20):
            found = runner.forward([Work(row, [talk[place]])])
            sat.append(row.stand_up is not None)
        torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-4)
    assert sat == [False, True, True]
    assert sitting(runner)._seats._limit == 1 << 19


def test_a_row_comes_home_without_asking_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(ARCHITECTURES["llama"]())
    with torch.inference_mode():
        runner = seated(model)
        row = runner.new_row()
        runner.forward([Work(row, tokens(255, 8)[:100])])
        for token in tokens(156, 9):
            runner.forward([Work(row, [token])])
        monkeypatch.setattr("palaver.models.engine.rows._grown", None)
        assert row.stand_up is not None
        assert row.nbytes and row.stand_up is None


def test_without_a_card_nothing_sits() -> None:
    with torch.inference_mode():
        runner = runner_for(made(ARCHITECTURES["llama"]()), CPU, "auto")
        row = runner.new_row()
        runner.forward([Work(row, [5, 6, 7])])
        runner.forward([Work(row, [8])])
    assert isinstance(row, BufferRow) and row.stand_up is None
