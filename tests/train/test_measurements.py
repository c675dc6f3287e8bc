"""Rows are read one step late, the best is remembered across starts, and what is not finite decides nothing."""

import json
import math

import pytest

from jaxgpt.disk import strict
from jaxgpt.objectives import LanguageModel
from jaxgpt.terminal import Watch
from jaxgpt.train import measurements as module
from jaxgpt.train.measurements import Record


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


class Signal:
    """A result on a device that has made it by a time of the clock; waiting for it moves the clock there."""

    def __init__(self, clock, at):
        self.clock, self.at = clock, at

    def is_ready(self):
        return self.clock.now >= self.at

    def block_until_ready(self):
        self.clock.now = max(self.clock.now, self.at)


class Flag:
    """A number on the device, which whoever reads it waits for."""

    def __init__(self, value, signal):
        self.value, self.signal = value, signal

    def __bool__(self):
        self.signal.block_until_ready()
        return bool(self.value)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def start(tiny, clock):
    """`start(meta)`: a record, the rows it has written, and a function that notes one step."""

    def begin(meta=None, tokens_per_byte=None, **overrides):
        rows = []
        record = Record(tiny(**overrides), [rows.append], Watch("run", 20, quiet=True), meta, tokens_per_byte)

        def step(number, loss=2.0, skipped=0, log=True, finite=True, ready=0.0, **more):
            signal = Signal(clock, ready)
            metrics = {"loss": loss, "lr": 1e-3, "grad_norm": 0.5, "skipped": Flag(skipped, signal), "finite": finite}
            record.step(number, number * 64, metrics | more, log, signal)

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
    step(2, **{"aux/balance": 0.01, "weight": 8.0})
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
    assert record.validation({"val/loss": 1.5})
    assert rows[-1]["step"] == 1 and rows[-1]["val/loss"] == 1.5 and len(rows) == 1
    step(2)
    record.flush()
    assert "val/loss" not in rows[-1] and record.last["val/loss"] == 1.5


def test_bits_per_byte_stand_beside_the_loss(start):
    record, rows, step = start(tokens_per_byte=0.25)
    step(1)
    record.validation({"val/loss": 4 * math.log(2)})
    assert rows[-1]["val/bpb"] == record.result("finished")["val/bpb"] == pytest.approx(1.0)
    again, _, _ = start(json.loads(json.dumps(record.meta())), tokens_per_byte=0.25)
    assert again.last["val/bpb"] == record.last["val/bpb"]


@pytest.mark.parametrize("known", [True, False])
def test_without_known_bytes_or_a_next_token_there_are_no_bits(known, start, monkeypatch):
    monkeypatch.setattr(LanguageModel, "next_token", not known)
    record, rows, step = start(tokens_per_byte=0.25 if known else None)
    step(1)
    record.validation({"val/loss": 1.5})
    assert rows[-1]["val/loss"] == 1.5 and "val/bpb" not in rows[-1]


def test_the_best_and_the_wait_since_then(start):
    record, _, _ = start()
    best = [record.validation({"val/loss": loss}) for loss in (3.0, 2.0, 2.0, 2.5, 1.0)]
    assert best == [True, True, False, False, True]
    record.validation({"val/loss": 1.1})
    assert (record.best["val/loss"], record.since_best) == (1.0, 1)


def test_a_validation_that_is_not_finite_is_never_the_best(start):
    record, _, _ = start()
    best = [record.validation({"val/loss": loss}) for loss in (math.nan, math.inf, 2.0, math.nan, 1.0)]
    assert best == [False, False, True, False, True] and record.best["val/loss"] == 1.0


def test_a_task_is_judged_by_its_own_metric(start):
    """More is better of an accuracy, less of a calibration error; the best loss is remembered beside it."""
    task = {"objective": "classify", "model.text_head": "task", "data": {"columns": ["a"], "label": "b"}}
    passes = [(1.0, 0.5), (0.5, 0.5), (2.0, 0.75), (2.0, math.nan), (0.4, 0.6)]
    for metric, want in ((None, [True, False, True, False, False]), ("calibration_error", [True] + 4 * [False])):
        record, _, step = start(**task | {"eval.metric": metric})
        name = f"val/{metric or 'accuracy'}"
        best = []
        for number, (loss, value) in enumerate(passes):
            step(number)
            best.append(record.validation({"val/loss": loss, name: value}))
        assert best == want and record.best["val/loss"] == 0.4
        result = record.result("finished")
        assert result[f"best_{name}"] == (0.5 if metric else 0.75) and result["best_val/loss"] == 0.4
        assert f"{metric or 'accuracy'} 0.6" in record._line.line(2, **record._facts())
        again, _, _ = start(json.loads(json.dumps(strict(record.meta())[0])), **task | {"eval.metric": metric})
        assert (again.best, again.since_best) == (record.best, record.since_best)


def test_skipped_updates_count_in_a_row(start):
    record, _, step = start()
    for number, skipped in enumerate((1, 1, 0, 1, 1, 1), start=1):
        step(number, skipped=skipped, log=False)
    record.flush()
    assert record.skips == 3


@pytest.mark.parametrize("step_seconds", [2.0, 0.5])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("log_every", "eval_every", "steps"), [(1, 1, 2), (1, 1, 9), (1, 2, 9), (3, 5, 20), (10, 1, 4)]
)
def test_speed_is_that_of_the_device(start, clock, log_every, eval_every, steps, at_once, step_seconds):
    """Whether dispatching a step makes it (a small program on a CPU) or starts it: compiling, validation and reading
    late are left out, and no row tells of more than the device did."""
    record, rows, step = start()
    ready = clock.now
    for number in range(1, steps + 1):
        seconds = 50 if number == 1 else step_seconds  # the first step compiles
        ready = max(ready, clock.now) + seconds
        if at_once or number == 1:
            clock.now = ready
        step(number, log=number % log_every == 0 or number % eval_every == 0 or number == steps, ready=ready)
        if number % eval_every == 0:
            with record.paused():
                clock.now += 30
            record.validation({"val/loss": 1.0})
    record.flush()
    speeds = [row["tokens_per_second"] for row in rows if "tokens_per_second" in row]
    assert speeds and max(speeds) <= 64 / step_seconds + 0.1
    assert rows[-1]["tokens_per_second"] >= 0.5 * 64 / step_seconds


def test_seconds_count_everything(start, clock):
    record, _, step = start()
    step(1, ready=clock.now + 50)
    with record.paused():
        clock.now += 30
    assert record.seconds == 80


@pytest.mark.parametrize(("rated", "mfu"), [(None, None), (1e3, None), (1e9, 0.0)])
def test_mfu_is_a_share_of_a_known_peak_or_null(start, clock, monkeypatch, rated, mfu):
    monkeypatch.setattr(module, "rated_flops", lambda: rated)
    record, rows, step = start()
    step(1)
    step(2, ready=clock.now + 1)
    record.flush()
    got = rows[-1]["mfu"]
    assert got is None if mfu is None else 0 < got < 0.1
    assert ("mfu n/a" in record._line.line(2, **record._facts())) == (mfu is None)


def test_weights_that_are_not_finite_end_the_run(start):
    record, _, step = start()
    step(1, finite=False, log=False)
    assert record.verdict() is None
    record.flush()
    assert record.broken and record.verdict() == "diverged"


def test_a_resumed_record_goes_on_from_its_meta(start, clock):
    record, _, step = start()
    step(1, skipped=1)
    record.validation({"val/loss": 2.0})
    step(2, skipped=1)
    record.validation({"val/loss": 2.2})
    clock.now += 7
    meta = json.loads(json.dumps(strict(record.meta())[0]))
    again, _, _ = start(meta)
    assert (again.best["val/loss"], again.since_best, again.skips, again.last) == (2.0, 1, 2, record.last)
    clock.now += 1
    assert again.seconds == 8 and again.result("finished")["best_val/loss"] == 2.0


def test_a_record_goes_on_from_losses_that_were_not_finite(start):
    record, _, step = start()
    step(1, math.nan, skipped=1)
    record.validation({"val/loss": math.nan})
    again, rows, step = start(strict(record.meta())[0])
    step(2)
    again.flush()
    assert rows[-1]["train/loss"] == 2.0 and again.best["val/loss"] is None


def test_the_result_holds_the_newest_of_each_figure(start):
    record, _, step = start()
    step(1, 3.0)
    record.validation({"val/loss": 2.0})
    step(2, 2.5)
    record.flush()
    result = record.result("stopped")
    assert result["train/loss"] == 2.5 and result["val/loss"] == result["best_val/loss"] == 2.0
    assert (result["step"], result["tokens"], result["status"]) == (2, 128, "stopped")
