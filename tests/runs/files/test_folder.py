"""Logs that a kill cannot spoil, and JSON that every reader accepts."""

import json
import os
import resource

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgpt.disk import strict, write_json_atomic
from jaxgpt.runs.files.folder import RunDir, read_metrics
from jaxgpt.seal import read_result
from jaxgpt.spec import JaxgptError


def row(step):
    return {"step": step, "tokens": step * 512, "train/loss": 1 / (step + 1), "lr": 1e-3}


def write(directory, first, last, restored=None):
    with RunDir(directory, restored) as run:
        for step in range(first, last + 1):
            run.metrics(row(step))


def events(directory):
    return [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]


def test_rows_are_visible_at_once_and_come_back(tmp_path):
    with RunDir(tmp_path) as run:
        run.metrics(row(0))
        assert read_metrics(tmp_path) == [row(0)]
        run.metrics({"step": jnp.int32(1), "val/loss": np.float32(0.5), "list": jnp.arange(2)})
    assert read_metrics(tmp_path)[1] == {"step": 1, "val/loss": 0.5, "list": [0, 1]}


@settings(deadline=None, max_examples=30)
@given(killed=st.integers(0, 20), restored=st.integers(0, 20), torn=st.integers(0, 60))
def test_a_resumed_file_equals_an_uninterrupted_one(tmp_path_factory, killed, restored, torn):
    folder = tmp_path_factory.mktemp("run")
    restored = min(killed, restored)
    write(folder / "whole", 0, 20)
    write(folder / "killed", 0, killed)
    with open(folder / "killed" / "metrics.jsonl", "ab") as file:
        file.write((json.dumps(row(killed + 1)) + "\n").encode()[:torn])
    write(folder / "killed", restored + 1, 20, restored)
    assert (folder / "killed" / "metrics.jsonl").read_bytes() == (folder / "whole" / "metrics.jsonl").read_bytes()


def test_a_run_without_a_checkpoint_starts_its_metrics_over_and_keeps_its_events(tmp_path):
    write(tmp_path, 0, 3)
    with RunDir(tmp_path) as run:
        run.event("started")
    write(tmp_path, 0, 1)
    assert [kept["step"] for kept in read_metrics(tmp_path)] == [0, 1]
    assert [kept["event"] for kept in events(tmp_path)] == ["started"]


@pytest.mark.parametrize("tail", [b'{"step": 4', b"\0" * 90, b"\n\n", b'{"step": 4}', b'{"st\n\0\0'])
def test_a_torn_tail_is_skipped_by_readers_and_cut_by_the_writer(tmp_path, tail):
    write(tmp_path, 0, 3)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert read_metrics(tmp_path) == [row(step) for step in range(4)]
    assert path.read_bytes() == whole + tail  # a reader beside a live run changes nothing
    RunDir(tmp_path, restored=3).__exit__(None, None, None)
    assert path.read_bytes() == whole


def test_damage_in_the_middle_is_an_error_that_names_the_line(tmp_path):
    write(tmp_path, 0, 3)
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"oops\n" + b"".join(lines[2:]))
    before = path.read_bytes()
    for act in (lambda: read_metrics(tmp_path), lambda: RunDir(tmp_path, restored=3)):
        with pytest.raises(JaxgptError, match=r"metrics\.jsonl:2: not a row: b'oops"):
            act()
    assert path.read_bytes() == before
    with pytest.raises(JaxgptError, match="is this the directory of a run"):
        read_metrics(tmp_path / "absent")


def test_what_is_not_finite_becomes_null_and_an_event(tmp_path):
    with RunDir(tmp_path) as run:
        run.metrics({"step": 7, "train/loss": jnp.float32(jnp.nan), "lr": float("-inf"), "grads": [1.0, np.inf]})
        run.status(state="stopped", loss=float("nan"))
        run.result(**{"best_val/loss": float("inf"), "status": "diverged"})
    assert read_metrics(tmp_path) == [{"step": 7, "train/loss": None, "lr": None, "grads": [1.0, None]}]
    (event,) = events(tmp_path)
    assert event.pop("time") > 1e9
    assert event == {"event": "non_finite", "step": 7, "keys": ["train/loss", "lr", "grads.1"]}
    assert json.loads((tmp_path / "result.json").read_text()) == {"best_val/loss": None, "status": "diverged"}
    assert "NaN" not in (tmp_path / "status.json").read_text()


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@settings(deadline=None, max_examples=50)
@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_strict_json_loses_nothing_but_the_non_finite(value):
    clean, lost = strict(value)
    assert json.loads(json.dumps(clean, allow_nan=False)) == clean
    if not lost:
        assert clean == value


def test_json_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    write_json_atomic(path, {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(JaxgptError, match=r"status\.json: cannot be written: No space left"):
                write_json_atomic(path, {"step": 2})
        assert [json.loads(file.read_text()) for file in tmp_path.iterdir()] == [{"step": 1}]
    with pytest.raises(TypeError, match=r"a\.0: object is not JSON"):
        write_json_atomic(path, {"a": [object()]})


def test_a_row_that_does_not_fit_on_the_disk_leaves_no_half_line(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunDir(tmp_path) as run:
        run.metrics(row(0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            with pytest.raises(JaxgptError, match=r"metrics\.jsonl: cannot be written"):
                run.metrics(row(1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        run.metrics(row(2))
    assert read_metrics(tmp_path) == [row(0), row(2)]


def test_the_result_comes_back_once_the_run_has_ended(tmp_path):
    assert read_result(tmp_path) is None
    with RunDir(tmp_path) as run:
        run.metrics(row(3))
        run.result(status="stopped", step=3)
        assert read_result(tmp_path) is None
        run.result(status="finished", step=3)
    assert read_result(tmp_path) == {"status": "finished", "step": 3}
    with RunDir(tmp_path, 3):  # it goes on
        assert read_result(tmp_path) is None


@pytest.mark.parametrize("name", ["metrics.jsonl", "events.jsonl"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink(path, path)])
def test_what_stands_in_the_place_of_a_log_is_one_line_and_no_wait(tmp_path, name, make):
    make(tmp_path / name)
    with pytest.raises(JaxgptError, match=rf"{name}: .*; is this the directory of a run\?$"):
        RunDir(tmp_path)
