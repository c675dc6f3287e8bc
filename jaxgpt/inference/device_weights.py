"""A model's weights on the devices where they are used: where each lies, and whether it is a number."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxgpt.interop.finite import fault, is_finite
from jaxgpt.models import Model
from jaxgpt.ops.sharding import path_name
from jaxgpt.ops.stored import cast as in_another
from jaxgpt.parallel import Mesh, Rules, Standard, shardings
from jaxgpt.spec import ConfigError, JaxgptError

DTYPES = ("float32", "bfloat16", "float16")


def placed_shapes(model: Model, mesh: Mesh | None, rules: Rules | None) -> Any:
    """The shape, dtype and sharding of each parameter: split over the mesh as `rules` say (None: `Standard`); without a
    mesh, on the first device."""
    shapes = model.shapes()
    if mesh is None:
        first = SingleDeviceSharding(jax.local_devices()[0])
        where = jax.tree.map(lambda _: first, shapes)
    else:
        where = shardings(shapes, rules or Standard(), mesh.build(), "params/")
    return jax.tree.map(lambda leaf, own: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=own), shapes, where)


def put(leaf: np.ndarray, like: jax.ShapeDtypeStruct) -> jax.Array:
    """An array of the host where `like` says, in its own dtype."""
    return jax.make_array_from_callback(leaf.shape, like.sharding, lambda index: leaf[index])


def on_mesh(name: str, leaf: Any, mesh: Mesh | None, rules: Rules | None) -> Any:
    """What stands for the parameter of a path, where `rules` say that it lies; without a mesh, as it is."""
    if mesh is None:
        return leaf
    return jax.device_put(leaf, shardings({name: leaf}, rules or Standard(), mesh.build(), "params/")[name])


def in_dtype(params: Any, dtype: str | None) -> Any:
    """The tree in `dtype`; None: as it is. Raises ConfigError for a dtype that XLA has not on this processor, and
    JaxgptError naming the first parameter that is not finite, as it is or in that dtype."""
    if dtype is not None and not computes(dtype):
        raise ConfigError(f"dtype: XLA has no {dtype} for this processor; load in float32 or bfloat16")
    cast = params if dtype is None else in_another(params, dtype)
    for (path, leaf), stored in zip(jax.tree.leaves_with_path(cast), jax.tree.leaves(params), strict=True):
        for part, original in zip(_parts(leaf), _parts(stored), strict=True):
            if not is_finite(part):
                raise JaxgptError(fault(path_name(path), original, str(leaf.dtype)))
    return cast


def _parts(leaf: jax.Array) -> list[np.ndarray]:
    return [np.asarray(shard.data) for shard in leaf.addressable_shards if shard.replica_id == 0]


def computes(dtype: str) -> bool:
    """Whether XLA can bring numbers to `dtype` here: an x86 processor without F16C has no float16."""
    try:
        jnp.zeros((), jnp.float32).astype(dtype).block_until_ready()
    except jax.errors.JaxRuntimeError:
        return False
    return True
