"""Rows of a batch as sequences of tokens, read by the model once, for their pooled states and for what comes next.

B rows, N sequences a row (a text or two joined; both orders; candidates), T tokens, D model width, S sequences.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgpt.nn.sown import Losses, sown_losses
from jaxgpt.objectives.objective import Batch
from jaxgpt.objectives.token_losses import Chunk, token_losses
from jaxgpt.ops.random_masks import by_row, rows_of


class Sequences(NamedTuple):
    """All sequences of a batch, those of a row one after the other."""

    tokens_ST: jax.Array
    segments_ST: jax.Array
    """0 where a sequence is padding."""
    types_ST: jax.Array | None
    """0 for a first text and what frames it, 1 for a second."""
    number_S: jax.Array
    """A sequence's number in the whole batch, by which its dropout is drawn."""
    real_BN: jax.Array
    """bool: sequences that hold text."""


class Read(NamedTuple):
    """What a model makes of sequences."""

    hidden_STD: jax.Array
    pooled_BND: jax.Array
    """float32."""
    losses: Losses
    """Those that layers sowed."""


def sequences_of(batch: Batch) -> Sequences:
    """Those in `tokens`, `tokens_1` and so on."""
    suffixes = ["", *(name.removeprefix("tokens") for name in batch if name.startswith("tokens_"))]

    def all_of(name: str) -> jax.Array:
        return jnp.stack([batch[name + suffix] for suffix in suffixes], 1)

    tokens_BNT, segments_BNT = all_of("tokens"), all_of("segments")
    B, N, T = tokens_BNT.shape
    return Sequences(
        tokens_BNT.reshape(-1, T),
        segments_BNT.reshape(-1, T),
        all_of("token_types").reshape(-1, T) if "token_types" in batch else None,
        (rows_of(B)[:, None] * N + jnp.arange(N)).reshape(-1),
        (segments_BNT > 0).any(-1),
    )


def read(model: nn.Module, params: Any, sequences: Sequences, key: jax.Array | None) -> Read:
    """One pass of the model; a key turns dropout on, and what layers sow."""
    with by_row(sequences.number_S):
        (hidden_STD, pooled_SD), sown = model.apply(
            {"params": params},
            sequences.tokens_ST,
            segments=sequences.segments_ST,
            token_types=sequences.types_ST,
            train=key is not None,
            rngs={} if key is None else {"dropout": key},
            method="summarise",
            mutable=[] if key is None else ["losses"],
        )
    return Read(hidden_STD, pooled_SD.reshape(*sequences.real_BN.shape, -1), sown_losses(sown))


def next_token_loss(
    model: nn.Module, params: Any, hidden_STD: jax.Array, sequences: Sequences, chunk: Chunk
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy in nats of each token given those before it in its sequence: the mean over a sequence's own tokens,
    then over sequences (openai/finetune-transformer-lm, train.py); and the number of these."""
    real_ST = sequences.segments_ST > 0
    own_ST = real_ST & jnp.roll(real_ST, -1, 1).at[:, -1].set(False)
    _, nll_ST = token_losses(model, params, hidden_STD, jnp.roll(sequences.tokens_ST, -1, 1), chunk)
    count_S = jnp.sum(own_ST, 1, dtype=jnp.float32)
    mean_S = jnp.sum(jnp.where(own_ST, nll_ST, 0.0), 1) / jnp.maximum(count_S, 1.0)
    sequences_read = jnp.sum(count_S > 0, dtype=jnp.float32)
    return jnp.sum(mean_S) / jnp.maximum(sequences_read, 1.0), sequences_read
