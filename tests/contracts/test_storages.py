"""What every storage of frozen weights promises, those of this package and any that an experiment declares."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, difference

from jaxgpt.nn.linear import PROJECTIONS
from jaxgpt.ops.matmul import project
from jaxgpt.ops.stored import is_stored
from jaxgpt.spec import members

NAMES = [name for name, member in members("storage").items() if not inspect.isabstract(member)]
PATH = "blocks/layers/attention/q/weight"
rng = np.random.default_rng(0)
W = jnp.asarray(rng.standard_normal((3, 64, 10)).astype(np.float32))
X, DY = rng.standard_normal((2, 64)).astype(np.float32), rng.standard_normal((2, 10)).astype(np.float32)


@pytest.fixture(params=NAMES)
def storage(request):
    return members("storage")[request.param]()


def test_stands_for_the_array(storage):
    stored = storage.store(PATH, W)
    assert stored.shape == W.shape
    assert difference(stored.astype(jnp.float32), W) < 0.2
    assert storage.store(PATH, stored) is stored
    assert all(leaf.shape[0] == 3 for leaf in jax.tree.leaves(stored)), "a loop over layers slices it"


def test_a_product_is_that_with_the_array(storage):
    second = jax.tree.map(lambda leaf: leaf[1], storage.store(PATH, W))
    array = second.astype(jnp.float32)
    y, pull = jax.vjp(lambda x: project(x, second), X)
    assert_close(y, X @ array)
    assert_close(pull(DY)[0], DY @ array.T)


def test_other_parameters_stay(storage):
    for path in ("embed/token", "blocks/layers/norm_attention/scale", "blocks/layers/feed_forward/experts/up/weight"):
        assert storage.store(path, W) is W


def test_an_array_comes_back_where_no_rule_names_it(storage):
    stored = storage.store(PATH, W)
    assert not is_stored(storage.store("lm_head/weight", stored))


def test_projections():
    import re

    assert re.search(PROJECTIONS, "decoder/blocks/layers/cross_attention/k/weight")
    assert not re.search(PROJECTIONS, "blocks/layers/feed_forward/router/weight")
