"""How tables become PartitionSpecs: merged dimension by dimension, never an axis twice."""

import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from jaxgpt.parallel import (
    ROWS,
    Experts,
    Megatron,
    Mesh,
    Product,
    Replicated,
    Stages,
    Standard,
    Zero,
    placement_of,
    split,
)

P = PartitionSpec
UP = "params/blocks/layers/feed_forward/up/weight"
EXPERTS = UP.replace("up/weight", "experts/up")


def mesh(**sizes):
    every = Mesh(**({"data": 1} | sizes)).model_dump()
    return AbstractMesh(tuple(every.values()), tuple(every))


@pytest.mark.parametrize(
    ("rules", "sizes", "path", "shape", "spec"),
    [
        (Zero(), {"fsdp": 8}, UP, (2, 16, 64), P(None, None, "fsdp")),  # the largest dimension, never the layers
        (Zero(), {"fsdp": 8}, "params/embed/token", (65, 16), P(None, "fsdp")),  # the largest that divides
        (Zero(), {"fsdp": 8}, "params/norm_final/scale", (16,), P("fsdp")),
        (Zero(stage=1), {"fsdp": 8}, "opt_state/inner_state/1/mu/embed/token", (64, 16), P("fsdp", None)),
        (Zero(stage=1), {"fsdp": 8}, "gradients/embed/token", (64, 16), P(None, None)),
        (Zero(stage=2), {"fsdp": 8}, "gradients/embed/token", (64, 16), P("fsdp", None)),
        (Megatron(), {"tensor": 4}, UP, (2, 16, 64), P(None, None, "tensor")),
        (Megatron(), {"tensor": 4}, UP.replace("up", "down"), (2, 64, 16), P(None, "tensor", None)),
        (Product(of=(Megatron(), Zero())), {"tensor": 2, "fsdp": 4}, UP, (2, 16, 64), P(None, "fsdp", "tensor")),
        (Product(of=(Megatron(), Zero())), {"tensor": 2, "fsdp": 4}, UP, (2, 6, 64), P(None, None, ("tensor", "fsdp"))),
        (Standard(), {"pipeline": 2, "fsdp": 4}, UP, (2, 16, 64), P("pipeline", None, "fsdp")),
        (Stages(), {"pipeline": 2}, UP, (2, 16, 64), P("pipeline", None, None)),
        (Experts(), {"expert": 8}, EXPERTS, (2, 8, 4, 6), P(None, "expert", None, None)),
        (Megatron(), {"tensor": 2, "sequence": 2}, "activations/residual", (8, 8, 4), P(None, "sequence", None)),
        (Megatron(sequence_norms=True), {"tensor": 2, "sequence": 2, "data": 2}, "activations/residual", (8, 8, 4),
         P("data", ("sequence", "tensor"), None)),
        (Replicated(), {"data": 2, "fsdp": 2, "expert": 2}, "batch/tokens", (8, 8), P(ROWS, None)),
    ],
)  # fmt: skip
def test_specs(rules, sizes, path, shape, spec):
    assert split(path, shape, rules, mesh(**sizes)).spec == spec


def test_nothing_is_said_where_no_table_speaks():
    assert split("params/embed/token", (8, 8), Replicated(), mesh(data=8)) is None


def test_a_scalar_is_not_refused():
    found = split("opt_state/count", (), Zero(), mesh(fsdp=8))
    assert found.spec == P() and found.refused == ()


def test_where_tokens_are_split_the_model_is_told():
    assert placement_of(Standard(), mesh(data=8)).token_shards == 1
    assert placement_of(Standard(), mesh(sequence=4, data=2)).token_shards == 4
    assert placement_of(Standard(), mesh(tensor=8)).token_shards == 1
    assert placement_of(Standard(sequence_norms=True), mesh(tensor=4, sequence=2)).token_shards == 8
    alone = placement_of(Standard(), mesh())
    assert alone.token_shards == 1 and alone.spec("activations/residual", (8, 8, 8)) is None
