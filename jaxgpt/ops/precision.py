"""The precision that ops compute in, whatever their operands have."""

import jax
import jax.numpy as jnp


def wide(x: jax.Array) -> jax.Array:
    """`x` in float32, or in what it has where that is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
