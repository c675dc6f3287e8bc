"""A small train state of every kind of leaf, and how checkpoints of it are compared."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorstore


def make_tree(seed):
    keys = jax.random.split(jax.random.key(seed), 3)
    params = {
        "block_0": {"attn": {"kernel": jax.random.normal(keys[0], (48, 64))}, "norm": {"scale": jnp.ones(48)}},
        "embed": jax.random.normal(keys[1], (32, 48), jnp.bfloat16),
    }
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.inject_hyperparams(optax.adamw)(learning_rate=1e-3))
    return {"params": params, "opt": tx.init(params), "ema": jax.tree.map(jnp.copy, params), "step": jnp.int32(seed)}


def assert_bitwise(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, two in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert type(one) is type(two) and one.dtype == two.dtype and one.shape == two.shape
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


def steps(folder):
    return sorted(int(path.name.removeprefix("step_")) for path in folder.iterdir() if path.is_dir())


def array_store(folder):
    """The arrays of a checkpoint's step, as Orbax keeps them."""
    return tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{folder}/arrays/"}).result()
