"""Hides tokens for a model to fill in. B rows, T tokens, V vocabulary."""

import jax
import jax.numpy as jnp

from jaxgpt.ops.random_masks import row_keys, uniform


def hide(
    key: jax.Array,
    tokens_BT: jax.Array,
    words_BT: jax.Array,
    rate: float | jax.Array,
    random: float,
    kept: float,
    mask_id: int,
    vocab_size: int,
) -> tuple[jax.Array, jax.Array]:
    """The tokens to read, int32 (B, T), and which are to be told, bool (B, T) (Devlin et al. 2019, section 3.1).

    Each word is chosen with probability `rate`; its tokens become `mask_id`, but for a share `random`, which become
    any token, and a share `kept`, which stay. `words_BT` (B, T) numbers a row's words, and is 0 for tokens that are
    never chosen. Drawn from `key` alone, so the same on any mesh.
    """
    chosen, how, other = map(row_keys, jax.random.split(key, 3))
    B, T = tokens_BT.shape
    draw_BT = jnp.take_along_axis(uniform(chosen, (B, T + 1)), words_BT, 1)
    target_BT = (draw_BT < rate) & (words_BT > 0)
    how_BT = uniform(how, (B, T))
    any_BT = (uniform(other, (B, T)) * vocab_size).astype(tokens_BT.dtype)
    hidden_BT = jnp.where(how_BT < random, any_BT, jnp.where(how_BT < random + kept, tokens_BT, mask_id))
    return jnp.where(target_BT, hidden_BT, tokens_BT), target_BT
