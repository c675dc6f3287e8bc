"""A batch of texts, several a row, each of which becomes one vector.

B rows, C texts a row, T tokens, D width, P parts of b rows.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgpt.nn.sown import Losses
from jaxgpt.objectives.objective import Batch


class Texts(NamedTuple):
    """The texts of some rows of a batch, several to a row."""

    tokens_BCT: jax.Array
    segments_BCT: jax.Array
    """0 where a text is padding."""
    number_BC: jax.Array
    """A text's number in the whole batch, by which its dropout is drawn: parts drop what the whole would."""
    words_BT: jax.Array
    """The numbers of words in a row's first text; (B, 0) where the batch has none."""


class Embedding(NamedTuple):
    """What a model makes of `Texts`."""

    z_BCD: jax.Array
    """float32."""
    losses: Losses
    """Those that layers sowed, means over the rows."""
    filled: tuple[jax.Array, jax.Array] | None
    """The summed cross-entropy of hidden tokens, and how many there were; None where none are hidden."""


def texts_of(batch: Batch, same_mask: bool) -> Texts:
    """Those of a batch. A lone text stands twice, as its own positive: with two numbers, or with `same_mask` one."""
    others = sum(name.startswith("tokens_") for name in batch)
    columns = ["", *(f"_{i}" for i in range(1, others + 1))] if others else ["", ""]
    tokens_BCT, segments_BCT = (jnp.stack([batch[kind + i] for i in columns], 1) for kind in ("tokens", "segments"))
    B, C = tokens_BCT.shape[:2]
    number_BC = jnp.arange(B)[:, None] * C + jnp.arange(C) * (0 if same_mask and not others else 1)
    return Texts(tokens_BCT, segments_BCT, number_BC, batch.get("words", jnp.zeros((B, 0), jnp.int32)))


def in_parts(embed: Callable[[Texts], Embedding], texts: Texts, most: int | None) -> Embedding:
    """`embed` on as many rows at once as divide the batch and are at most `most` (None: all), recomputed in the
    backward pass: exact gradients in the memory of a part (GradCache, Gao et al. 2021b)."""
    B = texts.number_BC.shape[0]
    size = B if most is None else max(n for n in range(1, min(most, B) + 1) if B % n == 0)
    if size == B:
        return embed(texts)
    # Neighbouring rows go to different parts, so that every device keeps a share of each.
    parts = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(size, B // size, *x.shape[1:]), 1, 0), texts)
    z_PbCD, losses, filled = jax.lax.map(jax.checkpoint(embed), parts)
    return Embedding(
        jnp.moveaxis(z_PbCD, 0, 1).reshape(B, *z_PbCD.shape[2:]),
        jax.tree.map(jnp.mean, losses),
        jax.tree.map(jnp.sum, filled),
    )
