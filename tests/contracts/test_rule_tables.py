"""Every sharding table fits every model: axes exist, splits divide, and the big matrices are split."""

from math import prod

import jax
import pytest
from jax.sharding import PartitionSpec

from jaxgpt.models import Decoder
from jaxgpt.parallel import Mesh, shardings
from jaxgpt.train.step import init_state

SEAM = "sharding"
MODELS = {
    "plain": {},
    "untied, gated, grouped": {"tied": False, "feed_forward": {"kind": "gated", "d_ff": 64}, "num_kv_heads": 2},
    "rms": {"norm": "rms", "qk_norm": "rms", "position": "rotary", "bias": False},
}
MESH = Mesh(data=1, fsdp=4, tensor=2)


@pytest.fixture(params=MODELS)
def params(request):
    spec = Decoder.model_validate(
        {"num_layers": 2, "d_model": 32, "num_heads": 4, "context": 16, "vocab_size": 64} | MODELS[request.param]
    )
    return spec.shapes()


def flat(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def test_every_axis_is_one_of_the_mesh(member):
    for pattern, axes in member.table():
        assert set(axes) <= {"data", "fsdp", "tensor", None}, pattern


def test_every_matrix_is_split_over_all_devices(member, params):
    shapes, placed = flat(params), flat(shardings(params, member, MESH.build()))
    for path, leaf in shapes.items():
        shard = placed[path].shard_shape(leaf.shape)
        whole = path.endswith(("['bias']", "['scale']", "['position']"))
        ways = leaf.size // max(1, prod(shard))
        assert whole or ways == 8, f"{path} {leaf.shape} is split {ways} ways"


def test_optimizer_state_lies_where_its_parameter_does(member, params, tiny):
    state = jax.eval_shape(lambda p: init_state(p, tiny().optim.build(), ema=True), params)
    placed = shardings(state, member, MESH.build())
    moments = placed.opt_state.inner_state[1]
    for copy in (moments.mu, moments.nu, placed.ema):
        assert flat(copy) == flat(placed.params)
    assert placed.step.spec == moments.count.spec == PartitionSpec()


def test_what_does_not_divide_stays_whole(member):
    odd = {"embed": {"token": jax.ShapeDtypeStruct((33, 30), "float32")}}
    assert shardings(odd, member, MESH.build())["embed"]["token"].is_fully_replicated
