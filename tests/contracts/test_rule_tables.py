"""Every sharding table fits every model: axes exist, splits divide, and state lies beside its parameter."""

from math import prod

import jax
import pytest
from jax.sharding import PartitionSpec

from jaxgpt.models import Decoder
from jaxgpt.parallel import Mesh, Standard, shardings, split
from jaxgpt.parallel.rules import Spread
from jaxgpt.train.state import init_state

SEAM = "sharding"
EXAMPLES = {
    "zero": [{"stage": 1}, {"stage": 2}, {"stage": 3}],
    "megatron": [{}, {"sequence_norms": True}],
    "product": [{"of": ["megatron", {"kind": "zero", "stage": 1}]}],
}
MODELS = {
    "plain": {},
    "untied, gated, grouped": {"tied": False, "feed_forward": {"kind": "gated", "d_ff": 64}, "num_kv_heads": 2},
    "rms": {"norm": "rms", "qk_norm": "rms", "position": "rotary", "bias": False},
    "biased head, norms on both sides": {"tied": False, "head_bias": True, "norm_place": "both", "embed_norm": "layer"},
}
MESH = Mesh(data=1, fsdp=2, tensor=2, pipeline=2)


@pytest.fixture(params=MODELS)
def state(request, tiny):
    spec = Decoder.model_validate(
        {"num_layers": 2, "d_model": 32, "num_heads": 4, "context": 16, "vocab_size": 64} | MODELS[request.param]
    )
    return jax.eval_shape(lambda p: init_state(tiny(ema=0.9), p), spec.shapes())


def flat(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def test_every_axis_is_one_of_the_mesh(member):
    for table in member.tables():
        for pattern, axes in table:
            parts = [axes.axis] if isinstance(axes, Spread) else [axis for axis in axes if axis not in (None, ...)]
            names = [name for part in parts for name in ((part,) if isinstance(part, str) else part)]
            assert set(names) <= set(Mesh.model_fields), pattern


def test_every_leaf_divides(member, state):
    placed = flat(shardings(state, member, MESH.build()))
    for path, leaf in flat(state).items():
        placed[path].shard_shape(leaf.shape)  # raises where it does not


def test_moments_and_averages_lie_alike(member, state):
    placed = shardings(state, member, MESH.build())
    moments = placed.opt_state[1]
    assert flat(moments.mu) == flat(moments.nu) == flat(placed.ema)
    assert placed.step.spec == moments.count.spec == PartitionSpec()


def test_the_standard_splits_every_matrix_over_all_devices(state):
    placed = flat(shardings(state, Standard(), MESH.build()))
    for path, leaf in flat(state).items():
        outside = "blocks" not in path  # tables know no stage
        ways = leaf.size // max(1, prod(placed[path].shard_shape(leaf.shape)))
        if leaf.ndim > 1 and not path.endswith(("['bias']", "['scale']")):
            assert ways == (2 if "position" in path else 4 if outside else 8), f"{path} {leaf.shape}: {ways} ways"


def test_what_does_not_divide_stays_whole_and_is_named():
    found = split("params/embed/token", (33, 31), Standard(), MESH.build())
    assert found.spec == PartitionSpec(None, None) and found.refused == ("tensor", "fsdp")
