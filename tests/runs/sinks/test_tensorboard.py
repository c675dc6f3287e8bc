"""TensorBoard's own reader finds what was written."""

import pytest

from jaxgpt.runs.sinks import TensorBoard

loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
ROWS = [
    {"step": 10, "tokens": 640, "train/loss": 3.25, "lr": 1e-3, "grad_norm": 0.5},
    {"step": 20, "tokens": 1280, "train/loss": 2.5, "lr": 5e-4, "mfu": None, "val/loss": 2.75},
]


def values(directory):
    return [
        (event.step, value)
        for file in sorted((directory / "tensorboard").iterdir())
        for event in loader.EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]


def test_events_hold_the_metrics_and_one_config(directory, facts):
    for row in ROWS:  # each in a start of its own
        write, close, _ = TensorBoard().open(directory, facts)
        write(row)
        close("stopped")
    found = {(step, value.tag): value.tensor.float_val[0] for step, value in values(directory) if value.tag != "config"}
    want = {
        (row["step"], name): held for row in ROWS for name, held in row.items() if name != "step" and held is not None
    }
    assert found == pytest.approx(want)
    (config,) = [value for _, value in values(directory) if value.tag == "config"]
    assert b"lr: 0.0625" in config.tensor.string_val[0]


def test_a_row_can_be_read_before_the_run_ends(directory, facts):
    write, close, _ = TensorBoard().open(directory, facts)
    write(ROWS[0])
    assert {value.tag for _, value in values(directory)} == {"config", "tokens", "train/loss", "lr", "grad_norm"}
    close("finished")
