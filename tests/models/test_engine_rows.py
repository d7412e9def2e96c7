"""Key-value buffers and the store that bounds them."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from palaver.models.engine.rows import BufferRow, RowStore, common_prefix


def filled(*tokens: int, heads: int = 2, dim: int = 4) -> BufferRow:
    """A row of one layer whose keys are its tokens' numbers."""
    row = BufferRow()
    keys = torch.tensor(tokens, dtype=torch.float32)[None, :, None].expand(heads, -1, dim)
    row.write(0, keys, -keys)
    row.tokens.extend(tokens)
    return row


def held(row: BufferRow, new: int) -> list[float]:
    """The keys of a row after one more was written."""
    keys, values = row.write(0, torch.full((2, 1, 4), float(new)), torch.full((2, 1, 4), -float(new)))
    assert torch.equal(keys, -values)
    return [float(key) for key in keys[0, :, 0]]


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(0, 2), max_size=40))
def test_the_common_prefix_is_as_long_as_walking_finds_it(first: list[int], second: list[int]) -> None:
    walked = 0
    while walked < min(len(first), len(second)) and first[walked] == second[walked]:
        walked += 1
    assert common_prefix(first, second) == walked


def test_what_was_written_stays_when_the_buffer_grows() -> None:
    row = filled(*range(600))
    assert held(row, 600) == list(range(601))


def test_a_step_given_up_leaves_no_trace() -> None:
    row = filled(1, 2, 3)
    held(row, 9)
    assert held(row, 4) == [1, 2, 3, 4]


def test_a_turn_continues_where_the_last_prompt_agrees() -> None:
    store = RowStore(1 << 20, BufferRow)
    row = filled(1, 2, 3, 4)
    store.keep(("", "sage"), row)
    taken = store.take(("", "sage"), [1, 2, 9, 9, 9])
    assert taken is row and taken.tokens == [1, 2]


def test_the_last_token_is_always_computed_again_for_its_logits() -> None:
    store = RowStore(1 << 20, BufferRow)
    store.keep(("", "sage"), filled(1, 2, 3))
    assert store.take(("", "sage"), [1, 2, 3]).tokens == [1, 2]


def test_another_conversation_copies_a_long_common_beginning() -> None:
    store = RowStore(1 << 20, BufferRow)
    kept = filled(*range(100))
    store.keep(("", "sage"), kept)
    twin = store.take(("", "tinker"), [*range(80), 7, 7])
    assert isinstance(twin, BufferRow) and twin is not kept
    assert twin.tokens == list(range(80)) and held(twin, 7) == [*range(80), 7]
    assert len(kept.tokens) == 100


def test_an_adapter_never_reads_what_another_one_computed() -> None:
    store = RowStore(1 << 20, BufferRow)
    store.keep(("poet", "sage"), filled(*range(100)))
    assert store.take(("", "sage"), list(range(100))).tokens == []


def test_the_least_recently_used_goes_first() -> None:
    size = filled(1).nbytes
    store = RowStore(2 * size, BufferRow)
    for name in ("old", "middle"):
        store.keep(("", name), filled(1, 2))
    store.keep(("", "old"), store.take(("", "old"), [1, 2, 3]))
    store.keep(("", "new"), filled(1, 2))
    assert store.nbytes <= 2 * size
    assert store.take(("", "middle"), [1, 2, 3]).tokens == []
    assert store.take(("", "old"), [1, 2, 3]).tokens == [1, 2] or len(store) == 1


def test_a_conversation_without_a_name_is_not_kept() -> None:
    store = RowStore(1 << 20, BufferRow)
    store.keep(("", ""), filled(1, 2))
    assert len(store) == 0
