"""The batch ramp: every row of the data once, in order, at sizes the devices can divide."""

import itertools

import pytest

from jaxgpt.runs.batch_rows import Rows


def spans(rows, count):
    return [rows.span(step) for step in range(count)]


def test_without_a_ramp_batches_follow_one_another(tiny):
    assert spans(Rows(tiny()), 3) == [(0, 8), (8, 16), (16, 24)]


@pytest.mark.parametrize("start", [1, 4, 8])
@pytest.mark.parametrize("stairs", [1, 3, 8])
def test_spans_tile_the_rows_and_grow(tiny, start, stairs):
    run = tiny(batch_size=64, batch_ramp={"start": start, "tokens": 8 * 1000, "stairs": stairs})
    found = spans(Rows(run), 1100)
    assert found[0] == (0, start) and found[-1][1] - found[-1][0] == 64
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
    sizes = [stop - start for start, stop in found]
    assert sizes == sorted(sizes) and all(size % start == 0 for size in sizes)


def test_a_step_alone_gives_its_place(tiny):
    """Resuming asks for any step first: the answer does not depend on those asked before."""
    run = tiny(batch_size=64, batch_ramp={"start": 8, "tokens": 8000, "stairs": 4})
    straight = spans(Rows(run), 60)
    assert [Rows(run).span(step) for step in (59, 0, 31)] == [straight[59], straight[0], straight[31]]


def test_gpt3_grows_from_32k_tokens_to_its_full_batch(tiny):
    """Brown et al. 2020, appendix B: from 32k tokens, linearly, over the first 4 to 12 billion tokens."""
    fields = {
        "model.context": 2048,
        "batch_size": 1600,
        "batch_ramp": {"start": 16, "tokens": 12 * 10**9, "stairs": 16},
    }
    rows = Rows(tiny(**fields))
    assert rows.span(0) == (0, 16) and 16 * 2048 == 32768
    full = next(step for step in itertools.count(0, 10) if rows.span(step)[1] - rows.span(step)[0] == 1600)
    assert rows.span(full)[0] * 2048 == pytest.approx(12e9, rel=0.01)
    halfway = next(step for step in itertools.count(0, 10) if rows.span(step)[0] * 2048 >= 6e9)
    assert rows.span(halfway)[1] - rows.span(halfway)[0] == pytest.approx(808, rel=0.1)
