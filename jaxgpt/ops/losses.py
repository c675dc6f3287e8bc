"""Token losses. N tokens, D model width, V vocabulary."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgpt.ops.setting import on


def cross_entropy(
    logits_NV: jax.Array,
    targets_N: jax.Array,
    label_smoothing: float | jax.Array = 0.0,
    z_loss: float | jax.Array = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Two float32 (N,) in nats: what is optimised, and plain −log p(target), which is what is reported.

    Label smoothing ε puts ε/V on every word and 1 − ε on the target (Szegedy et al. 2016, section 7). z-loss adds
    z·log²Z, which keeps logits from drifting (ST-MoE, Zoph et al. 2022, section 3.1).
    """
    logits_NV = logits_NV.astype(jnp.float32)
    log_z_N = jax.nn.logsumexp(logits_NV, -1)
    hot_NV = targets_N[:, None] == jnp.arange(logits_NV.shape[-1], dtype=targets_N.dtype)
    nll_N = log_z_N - jnp.sum(jnp.where(hot_NV, logits_NV, 0.0), -1)
    loss_N = nll_N
    if on(label_smoothing):
        loss_N = (1 - label_smoothing) * nll_N + label_smoothing * (log_z_N - jnp.mean(logits_NV, -1))
    if on(z_loss):
        loss_N = loss_N + z_loss * jnp.square(log_z_N)
    return loss_N, nll_N


def chunked_cross_entropy(
    unembed: Callable[[jax.Array], jax.Array],
    hidden_ND: jax.Array,
    targets_N: jax.Array,
    chunk: int | None,
    label_smoothing: float | jax.Array = 0.0,
    z_loss: float | jax.Array = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """`cross_entropy(unembed(hidden))` with at most `chunk` rows of logits alive at once, in value and in gradient.

    `unembed` maps (n, D) to (n, V) and is recomputed in the backward pass. None: all rows at once.
    """
    N = hidden_ND.shape[0]
    if chunk is None or chunk >= N:
        return cross_entropy(unembed(hidden_ND), targets_N, label_smoothing, z_loss)

    @jax.checkpoint
    def one(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        hidden, targets = part
        return cross_entropy(unembed(hidden), targets, label_smoothing, z_loss)

    pad = -N % chunk
    hidden = jnp.pad(hidden_ND, ((0, pad), (0, 0))).reshape(-1, chunk, hidden_ND.shape[1])
    targets = jnp.pad(targets_N, (0, pad)).reshape(-1, chunk)
    loss, nll = jax.lax.map(one, (hidden, targets))
    return loss.reshape(-1)[:N], nll.reshape(-1)[:N]
