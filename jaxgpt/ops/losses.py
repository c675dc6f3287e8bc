"""Token losses. B rows, T tokens, D model width, V vocabulary; S parts that tokens are split into over devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgpt.ops.sharding import token_shards
from jaxgpt.ops.token_statistics import statistics
from jaxgpt.spec.inputs import enabled


def cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    label_smoothing: float | jax.Array = 0.0,
    z_loss: float | jax.Array = 0.0,
    size: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """(..., V) and int (...) -> two float32 (...) in nats: what is optimised, and plain −log p(target) for reports.

    Label smoothing ε puts ε/V on every word and 1 − ε on the target (Szegedy et al. 2016, section 7). z-loss adds
    z·log²Z, which keeps logits from drifting (ST-MoE, Zoph et al. 2022, section 3.1). `size` is V where the logits have
    more columns, which then count for nothing.
    """
    size = size or logits.shape[-1]
    log_z, target, mean = statistics(logits, targets, size, mean=enabled(label_smoothing))
    nll = log_z - target
    loss = nll if mean is None else (1 - label_smoothing) * nll + label_smoothing * (log_z - mean)
    if enabled(z_loss):
        loss = loss + z_loss * jnp.square(log_z)
    return loss, nll


def chunked_cross_entropy(
    unembed: Callable[[jax.Array], jax.Array],
    hidden_BTD: jax.Array,
    targets_BT: jax.Array,
    chunk: int | None,
    label_smoothing: float | jax.Array = 0.0,
    z_loss: float | jax.Array = 0.0,
    size: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """`cross_entropy(unembed(hidden))`, (B, T) each, with `chunk` tokens' logits alive at once, in value and gradient.

    Tokens are taken from all rows alike, and from all parts of a row that lie on other devices, so that every device
    keeps its share of each chunk; at least one from each. `unembed` maps (B, n, D) to (B, n, V) and is recomputed in
    the backward pass. None: all tokens at once.
    """
    B, T = targets_BT.shape
    if chunk is None or chunk >= B * T:
        return cross_entropy(unembed(hidden_BTD), targets_BT, label_smoothing, z_loss, size)
    S = token_shards() if T % token_shards() == 0 else 1
    each = max(1, chunk // (B * S))
    parts = -(-T // (S * each))
    pad = parts * each - T // S

    def cut(x: jax.Array) -> jax.Array:
        x = x.reshape(B, S, T // S, *x.shape[2:])
        x = jnp.pad(x, ((0, 0), (0, 0), (0, pad), *((0, 0),) * (x.ndim - 3)))
        return jnp.moveaxis(x.reshape(B, S, parts, each, *x.shape[3:]), 2, 0).reshape(parts, B, S * each, *x.shape[3:])

    def join(x: jax.Array) -> jax.Array:
        x = jnp.moveaxis(x.reshape(parts, B, S, each), 0, 2).reshape(B, S, parts * each)
        return x[..., : T // S].reshape(B, T)

    @jax.checkpoint
    def losses_of(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        hidden, targets = part
        return cross_entropy(unembed(hidden), targets, label_smoothing, z_loss, size)

    loss, nll = jax.lax.map(losses_of, (cut(hidden_BTD), cut(targets_BT)))
    return join(loss), join(nll)
