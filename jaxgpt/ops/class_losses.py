"""What naming a row's class costs. B rows, C classes."""

import jax
import jax.numpy as jnp

from jaxgpt.ops.losses import cross_entropy
from jaxgpt.spec.inputs import enabled


def class_cross_entropy(
    logits_BC: jax.Array,
    label_B: jax.Array,
    label_smoothing: float | jax.Array = 0.0,
    focal_gamma: float | jax.Array = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """float32 (B, C), two classes or more, and int (B,) -> two float32 (B,) in nats: what is optimised, and plain
    -log p(label) for reports.

    The focal loss takes a row's (smoothed) cross-entropy times (1 - p(label))^γ, γ >= 0, which lets easy rows count
    little (Lin et al. 2017, section 3, for more than two classes). At γ = 0 it is the cross-entropy to the
    bit.
    """
    loss_B, nll_B = cross_entropy(logits_BC, label_B, label_smoothing)
    if enabled(focal_gamma):
        loss_B = loss_B * jnp.exp(focal_gamma * _log_of_others(logits_BC, label_B))
    return loss_B, nll_B


def _log_of_others(logits_BC: jax.Array, label_B: jax.Array) -> jax.Array:
    """float32 (B,): log(1 - p(label)), from logits: of two classes log σ(-x), where a power of 1 - p has no gradient
    once p has rounded to 1."""
    others_BC = jnp.where(label_B[:, None] == jnp.arange(logits_BC.shape[-1]), -jnp.inf, logits_BC)
    return jax.nn.logsumexp(others_BC, -1) - jax.nn.logsumexp(logits_BC, -1)
