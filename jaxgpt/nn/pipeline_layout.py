"""Groups stacked layers, stored in their order, by the pipeline stage that computes them.

S stages, R repeats, K layers of one stage in one repeat.
"""

from functools import partial
from math import gcd

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxgpt.ops.sharding import placement

PIPELINE = "pipeline"
"""The axis of the mesh that splits stages."""


def group_by_stage(a: jax.Array, S: int, R: int) -> jax.Array:
    """(S·R·K, ...) -> (S, K, ...), or (S, K, R, ...) with repeats.

    The state keeps layers in their order, whatever the mesh, so that checkpoints move between meshes. With repeats a
    stage's layers then lie on other devices: each step sends all weights there once, and their gradients back.
    """
    current = placement()
    if R == 1:
        a = a.reshape(S, -1, *a.shape[1:])
        if current is None or current.size(PIPELINE) == 1:
            return a
        spec = PartitionSpec(PIPELINE, *[PartitionSpec.UNCONSTRAINED] * (a.ndim - 1))
        return lax.with_sharding_constraint(a, NamedSharding(current.mesh, spec))
    a = a.reshape(S * R, -1, *a.shape[1:])
    if current is None or current.size(PIPELINE) != S:
        return jnp.moveaxis(a.reshape(R, S, *a.shape[1:]), 0, 2)
    own = PartitionSpec(PIPELINE)
    exchange = jax.shard_map(
        partial(_exchange, S=S, R=R), mesh=current.mesh, in_specs=(own, own, own), out_specs=own, axis_names={PIPELINE}
    )
    sent_SR, got_SR = exchange_rounds(S, R)
    return exchange(a, jnp.asarray(sent_SR), jnp.asarray(got_SR))


def exchange_rounds(S: int, R: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of its R groups each stage sends in each of R rounds, (S, R), so that every stage gets one a round; and the
    round in which it gets that of each repeat, (S, R).

    Group g = s·R + j lies on stage s and belongs to stage g mod S. Stages S / gcd(S, R) apart send to the same ones,
    and take turns.
    """
    common = gcd(S, R)
    turns = np.arange(S)[:, None] // (S // common)
    rounds = np.arange(R)[None]
    sent_SR = rounds - rounds % common + (rounds + turns) % common
    got_SR = np.empty((S, R), np.int32)
    for s, c in np.ndindex(S, R):
        repeat, owner = divmod(s * R + sent_SR[s, c], S)
        got_SR[owner, repeat] = c
    return sent_SR.astype(np.int32), got_SR


def _exchange(a_RK: jax.Array, sent_1R: jax.Array, got_1R: jax.Array, S: int, R: int) -> jax.Array:
    """On each stage's devices: (R, K, ...) neighbouring groups -> (1, K, R, ...), those of each repeat."""
    sent = exchange_rounds(S, R)[0]
    received = [
        lax.ppermute(
            lax.dynamic_index_in_dim(a_RK, sent_1R[0, c], keepdims=False),
            PIPELINE,
            [(s, int(s * R + sent[s, c]) % S) for s in range(S)],
        )
        for c in range(R)
    ]
    return jnp.moveaxis(jnp.stack(received)[got_1R[0]], 0, 1)[None]
