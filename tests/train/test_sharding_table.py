"""The sharding table says where arrays really lie, and names what the rules could not split."""

from pathlib import Path

import jax
import pytest

from jaxgpt.ops.sharding import path_name
from jaxgpt.runs import Run
from jaxgpt.spec import ConfigError, load_yaml
from jaxgpt.terminal import byte_size
from jaxgpt.train.program import program
from jaxgpt.train.sharding_table import sharding_table
from jaxgpt.train.sharding_text import print_sharding

MESH = {"exec.mesh": {"fsdp": 2, "tensor": 2, "data": 2}}


def test_it_says_what_the_program_does(tiny):
    run = tiny(**MESH)
    facts, compiled = sharding_table(run), program(run)
    assert facts["mesh"] == dict(compiled.mesh.shape)
    said = {leaf["path"]: leaf for leaf in facts["leaves"]}
    for path, leaf in jax.tree_util.tree_leaves_with_path(compiled.state):
        held = said[path_name(path)]
        assert tuple(held["shape"]) == leaf.shape
        shard = leaf.sharding.shard_shape(leaf.shape)
        assert held["bytes_per_device"] == leaf.dtype.itemsize * int(jax.numpy.prod(jax.numpy.array(shard)))
    assert facts["per_device"]["params"] == sum(
        leaf["bytes_per_device"] for path, leaf in said.items() if path.startswith("params/")
    )


def test_activations_are_those_that_the_model_names(tiny):
    said = {leaf["path"]: leaf for leaf in sharding_table(tiny(**MESH))["leaves"]}
    assert said["activations/residual"]["axes"] == "data+fsdp, -, -"
    assert said["activations/heads"]["axes"] == "data+fsdp, tensor, -, -"
    assert said["activations/logits"]["axes"] == "data+fsdp, -, tensor"
    assert said["batch/tokens"]["axes"] == "data+fsdp, -"


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("bert/small_cpu", {"tokens", "targets", "words"}),
        ("simcse/demo", {"tokens", "segments", "words"}),
        ("simcse/sup_bert_base", {f"{array}{text}" for array in ("tokens", "segments") for text in ("", "_1", "_2")}),
    ],
)
def test_a_batch_is_what_the_objective_reads(name, arrays):
    config = Path(__file__).parents[2] / f"configs/{name}.yaml"
    facts = sharding_table(load_yaml(Run, config, {"model.vocab_size": 8, "model.num_layers": 1, "model.d_model": 12}))
    paths = {leaf["path"] for leaf in facts["leaves"]}
    assert {path for path in paths if path.startswith("batch/")} == {f"batch/{array}" for array in arrays}
    assert "activations/residual" in paths


def test_what_cannot_be_split_is_named(tiny):
    facts = sharding_table(tiny(**{"model.vocab_size": 33, "model.d_model": 18, "exec.mesh": {"fsdp": 4, "tensor": 2}}))
    assert (
        "params/embed/token [33, 18] is not split over tensor: no dimension is a multiple of its size"
        in facts["remarks"]
    )
    assert any(remark.startswith("params/embed/token [33, 18] is not split over fsdp") for remark in facts["remarks"])


def test_an_axis_that_splits_nothing_is_named(tiny):
    facts = sharding_table(tiny(**{"exec.mesh": {"tensor": 2}, "exec.rules": "zero"}))
    assert "exec.mesh.tensor = 2 splits nothing: exec.rules zero does not name it" in facts["remarks"]


def test_a_mesh_of_another_machine_needs_no_devices(tiny):
    facts = sharding_table(tiny(**{"batch_size": 64, "exec.mesh": {"fsdp": 32, "data": 2}}))
    assert facts["mesh"]["fsdp"] == 32


def test_rows_that_do_not_divide_are_refused(tiny):
    with pytest.raises(ConfigError, match="batch_size: 8 rows do not divide"):
        sharding_table(tiny(**{"exec.mesh": {"fsdp": 32}}))


def test_print(tiny, capsys):
    print_sharding(sharding_table(tiny(**MESH)))
    text = capsys.readouterr().out
    assert "mesh: data 2 x fsdp 2 x tensor 2" in text
    assert "embed/token" in text and "on each device" in text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (2**30, "1.07 GB"), (7e15, "7e+03 TB")]
)
def test_sizes(count, text):
    assert byte_size(count) == text


def test_the_bubble_of_a_pipeline_is_told(tiny, capsys):
    run = tiny(**{"model.num_layers": 4, "exec.mesh": {"pipeline": 4}, "exec.pipeline.microbatches": 4})
    facts = sharding_table(run)
    assert facts["pipeline"] == {"stages": 4, "microbatches": 4, "repeats": 1, "bubble": 3 / 7}
    print_sharding(facts)
    assert "pipeline: 4 stages, 4 microbatches, bubble 42.9%" in capsys.readouterr().out
    assert sharding_table(tiny())["pipeline"] is None
