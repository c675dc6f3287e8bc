"""Rows are read one step late, the best is remembered across starts, and what is not finite decides nothing."""

import json
import math

import pytest

from jaxgpt.disk import strict
from jaxgpt.objectives import LanguageModel
from jaxgpt.terminal import Watch
from jaxgpt.train import record as module
from jaxgpt.train.record import Record


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "peak_flops", lambda dtype: None)
    return clock


@pytest.fixture
def start(tiny, clock):
    """`start(meta)`: a record, the rows it has written, and a function that notes one step."""

    def begin(meta=None, tokens_per_byte=None, **overrides):
        rows = []
        record = Record(tiny(**overrides), [rows.append], Watch("run", 20, quiet=True), meta, tokens_per_byte)

        def step(number, loss=2.0, skipped=0, log=True):
            metrics = {"loss": loss, "lr": 1e-3, "grad_norm": 0.5, "skipped": skipped}
            record.step(number, number * 64, metrics, log)

        return record, rows, step

    return begin


def test_a_row_appears_when_the_next_step_is_dispatched(start):
    record, rows, step = start()
    step(1, 3.0)
    assert rows == []
    step(2, 2.5)
    assert [(row["step"], row["tokens"], row["train/loss"]) for row in rows] == [(1, 64, 3.0)]
    record.flush()
    record.flush()
    assert [row["step"] for row in rows] == [1, 2]


def test_losses_of_layers_join_the_row_where_there_are_any(start):
    record, rows, step = start()
    step(1)
    more = {"loss": 2.0, "lr": 1e-3, "grad_norm": 0.5, "skipped": 0, "aux/balance": 0.01, "weight": 8.0}
    record.step(2, 128, more, True)
    record.flush()
    assert [{name for name in row if name.startswith("aux")} for row in rows] == [set(), {"aux/balance"}]
    assert rows[1]["aux/balance"] == record.last["aux/balance"] == 0.01


def test_steps_between_logged_ones_write_no_row(start):
    record, rows, step = start()
    for number in range(1, 7):
        step(number, log=number % 3 == 0)
    record.flush()
    assert [row["step"] for row in rows] == [3, 6]


def test_validation_joins_the_row_of_its_step(start):
    record, rows, step = start()
    step(1)
    assert record.validation(1.5)
    assert rows[-1]["step"] == 1 and rows[-1]["val/loss"] == 1.5 and len(rows) == 1
    step(2)
    record.flush()
    assert "val/loss" not in rows[-1] and record.last["val/loss"] == 1.5


def test_bits_per_byte_stand_beside_the_loss(start):
    record, rows, step = start(tokens_per_byte=0.25)
    step(1)
    record.validation(4 * math.log(2))
    assert rows[-1]["val/bpb"] == record.result("finished")["val/bpb"] == pytest.approx(1.0)
    again, _, _ = start(json.loads(json.dumps(record.meta())), tokens_per_byte=0.25)
    assert again.last["val/bpb"] == record.last["val/bpb"]


@pytest.mark.parametrize("known", [True, False])
def test_without_known_bytes_or_a_next_token_there_are_no_bits(known, start, monkeypatch):
    monkeypatch.setattr(LanguageModel, "next_token", not known)
    record, rows, step = start(tokens_per_byte=0.25 if known else None)
    step(1)
    record.validation(1.5)
    assert rows[-1]["val/loss"] == 1.5 and "val/bpb" not in rows[-1]


def test_the_best_and_the_wait_since_then(start):
    record, _, _ = start()
    told = [record.validation(loss) for loss in (3.0, 2.0, 2.0, 2.5, 1.0)]
    assert told == [True, True, False, False, True]
    record.validation(1.1)
    assert (record.best, record.since_best) == (1.0, 1)


def test_a_validation_that_is_not_finite_is_never_the_best(start):
    record, _, _ = start()
    told = [record.validation(loss) for loss in (math.nan, math.inf, 2.0, math.nan, 1.0)]
    assert told == [False, False, True, False, True] and record.best == 1.0


def test_skipped_updates_count_in_a_row(start):
    record, _, step = start()
    for number, skipped in enumerate((1, 1, 0, 1, 1, 1), start=1):
        step(number, skipped=skipped, log=False)
    record.flush()
    assert record.skips == 3


def test_speed_leaves_out_the_first_step_and_pauses(start, clock):
    record, rows, step = start()
    step(1)
    clock.now += 50  # the first step compiles
    step(2)
    clock.now += 2
    with record.paused():
        clock.now += 30
    step(3)
    assert "tokens_per_second" not in rows[0] and rows[1]["tokens_per_second"] == 64 / 2
    assert record.seconds == 82


def test_a_resumed_record_goes_on_from_its_meta(start, clock):
    record, _, step = start()
    step(1, skipped=1)
    record.validation(2.0)
    step(2, skipped=1)
    record.validation(2.2)
    clock.now += 7
    meta = json.loads(json.dumps(strict(record.meta())[0]))
    again, _, _ = start(meta)
    assert (again.best, again.since_best, again.skips, again.last) == (2.0, 1, 2, record.last)
    clock.now += 1
    assert again.seconds == 8 and again.result("finished")["best_val/loss"] == 2.0


def test_a_record_goes_on_from_losses_that_were_not_finite(start):
    record, _, step = start()
    step(1, math.nan, skipped=1)
    record.validation(math.nan)
    again, rows, step = start(strict(record.meta())[0])
    step(2)
    again.flush()
    assert rows[-1]["train/loss"] == 2.0 and again.best is None


def test_the_result_holds_the_newest_of_each_figure(start):
    record, _, step = start()
    step(1, 3.0)
    record.validation(2.0)
    step(2, 2.5)
    record.flush()
    result = record.result("stopped")
    assert result["train/loss"] == 2.5 and result["val/loss"] == result["best_val/loss"] == 2.0
    assert (result["step"], result["tokens"], result["status"]) == (2, 128, "stopped")
