"""What does not fit a pipeline is refused in one line; what is not said is chosen so that it fits."""

import pytest

from jaxgpt.nn.pipeline import Pipelined
from jaxgpt.runs.fits import check_devices
from jaxgpt.runs.pipeline import check_pipeline, layer_loop, pipelined
from jaxgpt.spec import ConfigError

SIZES = {"pipeline": 4, "data": 2, "fsdp": 1, "expert": 1, "sequence": 1, "tensor": 1}
EIGHT = {"model.num_layers": 8, "batch_size": 32}
REFUSED = {
    "layers": ({"model.num_layers": 6}, ["model.num_layers", "6 layers", "multiple of 4"]),
    "layers of a repeat": ({"exec.pipeline.repeats": 4}, ["model.num_layers", "8 layers", "4 x", "multiple of 16"]),
    "cycle": (
        {"model.pattern": ["causal", {"kind": "banded", "window": 3}], "exec.pipeline.repeats": 2},
        ["model.pattern", "cycle of 2", "1 layers", "multiple of 16 layers"],
    ),
    "rows": ({"exec.pipeline.microbatches": 12}, ["batch_size", "32 rows", "12 microbatches", "multiple of 24"]),
    "rows of a part": (
        {"exec.accumulate": 2, "exec.pipeline.microbatches": 16},
        ["batch_size", "16 rows", "16 microbatches"],
    ),
    "rows of a small batch": (
        {"batch_ramp": {"start": 8, "tokens": 100}, "exec.pipeline.microbatches": 8},
        ["batch_ramp.start", "8 rows"],
    ),
    "validation": ({"eval.batch_size": 4, "exec.pipeline.microbatches": 4}, ["eval.batch_size", "4 rows"]),
    "too few to come round": (
        {"exec.pipeline.repeats": 2, "exec.pipeline.microbatches": 2},
        ["exec.pipeline", "2 microbatches", "4 stages", "at least 4"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(tiny, name):
    overrides, words = REFUSED[name]
    with pytest.raises(ConfigError) as refusal:
        check_pipeline(tiny(**EIGHT | overrides), SIZES)
    (line,) = refusal.value.problems
    assert all(word in line for word in words) and "\n" not in line, line


def test_a_run_refuses_its_pipeline_with_its_mesh(tiny):
    with pytest.raises(ConfigError, match=r"model\.num_layers: 2 layers"):
        check_devices(tiny(**{"exec.mesh": {"pipeline": 4, "data": 2}}), 8)


@pytest.mark.parametrize(
    ("overrides", "chosen"),
    [
        ({}, 16),
        ({"batch_size": 24}, 12),
        ({"batch_size": 2}, 1),
        ({"exec.accumulate": 4}, 4),
        ({"batch_size": 512}, 16),
    ],
    ids=str,
)
def test_microbatches_not_given_divide_the_rows(tiny, overrides, chosen):
    run = tiny(**EIGHT | overrides)
    assert pipelined(run, SIZES) == Pipelined(stages=4, microbatches=chosen, layers=run.exec.loop(2))
    check_pipeline(run, SIZES)


def test_every_size_of_a_ramp_and_of_validation_fits(tiny):
    run = tiny(**EIGHT | {"batch_ramp": {"start": 16, "tokens": 100}, "eval.batch_size": 24})
    assert pipelined(run, SIZES).microbatches == 4
    check_pipeline(run, SIZES)


def test_without_stages_nothing_changes(tiny):
    run = tiny(**{"exec.pipeline": {"microbatches": 3, "repeats": 5}, "exec.layers": "scan"})
    check_pipeline(run, SIZES | {"pipeline": 1})
    assert pipelined(run, SIZES | {"pipeline": 1}) is None
    assert layer_loop(run) == "scan"
