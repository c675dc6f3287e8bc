"""Every metrics sink takes the rows that metrics.jsonl takes."""

import pytest

from jaxgpt.train.sinks import TensorBoard

SEAM = "sink"
ROWS = [
    {"step": 10, "tokens": 640, "train/loss": 3.25, "lr": 1e-3, "grad_norm": 0.5},
    {"step": 20, "tokens": 1280, "train/loss": 2.5, "lr": 5e-4, "mfu": None, "val/loss": 2.75},
]


def test_takes_rows_with_absent_and_empty_metrics(member, tmp_path):
    write = member.open(tmp_path)
    for row in ROWS:
        write(row)
    assert any(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())


def test_tensorboard_events_hold_the_metrics(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    write = TensorBoard().open(tmp_path)
    for row in ROWS:
        write(row)
    (file,) = (tmp_path / "tensorboard").iterdir()
    found = {
        (event.step, value.tag): value.tensor.float_val[0]
        for event in loader.EventFileLoader(str(file)).Load()
        for value in event.summary.value
    }
    want = {
        (row["step"], name): held for row in ROWS for name, held in row.items() if name != "step" and held is not None
    }
    assert found == pytest.approx(want)
