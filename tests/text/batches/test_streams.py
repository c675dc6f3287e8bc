"""Streams: rows go on from batch to batch, nothing held out is read twice or left out, whatever the rows."""

import numpy as np
import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text import Byte, Data, batch_shapes, prepare
from jaxgpt.text.batches.arrangement import PLAIN

B, T = 3, 5


@pytest.fixture
def streams(tmp_path):
    (tmp_path / "text.txt").write_text("".join(chr(97 + i * i % 26) + chr(65 + i % 23) for i in range(200)))

    def make(length=T, rows=B, **fields):
        data = Data(corpus=str(tmp_path / "text.txt"), streams=True, val_fraction=0.25, **fields)
        assert batch_shapes(data, length, PLAIN, rows)["continues"].shape == (rows,)
        return prepare(data, Byte(), length, cache=tmp_path / "cache", quiet=True, rows=rows)

    return make


def epoch(data, seed, number=0):
    """The batches of an epoch."""
    steps = data.epoch_rows // B
    return [data.batch(seed, B * step, B * (step + 1)) for step in range(number * steps, (number + 1) * steps)]


def test_a_row_goes_on_where_the_one_before_ended(streams):
    data = streams()
    batches = epoch(data, 0)
    assert [batch["continues"].tolist() for batch in batches[:2]] == [[0] * B, [1] * B]
    rows = [np.concatenate([batch["tokens"][b] for batch in batches]) for b in range(B)]
    ends = [np.concatenate([batch["targets"][b] for batch in batches]) for b in range(B)]
    whole = data.train.ids_N.tolist()
    for b, (row, end) in enumerate(zip(rows, ends, strict=True)):
        assert row[1:].tolist() == end[:-1].tolist()
        if b:
            assert ends[b - 1][-1] == row[0]  # the parts lie side by side in the file
    joined = np.concatenate(rows).tolist()
    shift = next(i for i in range(2 * B * T) if whole[i : i + len(joined)] == joined)
    assert len(whole) - 1 - len(joined) - shift < 2 * B * T


def test_epochs_begin_elsewhere_and_seeds_too_unless_told(streams):
    data, still = streams(), streams(shuffle=False)

    def firsts(data, seed, number):
        return epoch(data, seed, number)[0]["tokens"].tolist()

    starts = [firsts(data, seed, number) for seed in range(4) for number in range(2)]
    assert len({str(start) for start in starts}) > 4
    assert {str(firsts(still, seed, number)) for seed in (0, 1) for number in (0, 1)} == {str(firsts(still, 0, 0))}
    assert firsts(still, 0, 1) == firsts(still, 0, 0) and not epoch(data, 0, 1)[0]["continues"].any()


def test_any_rows_of_a_batch_are_its_rows(streams):
    data = streams()
    whole, part = data.batch(1, 0, 4 * B), data.batch(1, 4, 9)
    assert all(np.array_equal(whole[name][4:9], part[name]) for name in whole)
    assert {name: (x.shape, x.dtype.name) for name, x in part.items()} == data.shapes(5)


@pytest.mark.parametrize("rows", [1, 3, 7])
@pytest.mark.parametrize("length", [1, 5])
def test_a_pass_foretells_every_token_once(streams, rows, length):
    data = streams(length)
    batches = list(data.val_batches(rows))
    told = [batch["targets"][b][batch["weights"][b] > 0] for b in range(rows) for batch in batches]
    assert np.concatenate(told).tolist() == data.val.ids_N[1:].tolist()
    assert [batch["continues"].tolist() for batch in batches] == [[int(i > 0)] * rows for i in range(len(batches))]


def test_what_cannot_be_streams_is_one_line(streams, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.streams: 301 tokens are too few for 200 rows of 5 and what follows"):
        streams(rows=200)
    for fields in ({"columns": 1}, {"documents": "separate"}, {"corpus": [{"corpus": "a"}, {"corpus": "b"}]}):
        with pytest.raises(ValueError, match="streams are one corpus that is read on and on"):
            Data(**{"corpus": "stdlib", "streams": True} | fields)
