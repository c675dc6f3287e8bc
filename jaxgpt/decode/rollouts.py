"""Rollouts: what a model writes after prompts, and how likely it was by its own account; all of it on the device.

B rows, P prompt slots, N new tokens, V vocabulary.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgpt.decode.loop import Inputs, Program, advance, begin
from jaxgpt.decode.pieces import PIECE, whole_pieces
from jaxgpt.decode.prompts import MOST_NEW
from jaxgpt.decode.sampling import Sampling, Values
from jaxgpt.nn.stack import unstack
from jaxgpt.ops.sharding import platform
from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import whole


class Rollout(NamedTuple):
    """N new tokens of each row, how likely each was, and which of them are the row's own."""

    tokens_BN: jax.Array
    """int32; end-of-text in all slots behind a row's end."""
    log_probs_BN: jax.Array
    """float32, in nats; 0 behind a row's end."""
    mask_BN: jax.Array
    """bool: a row's own tokens, up to and including end-of-text."""


def rollout(
    module: nn.Module,
    params: Any,
    tokens_BP: jax.Array,
    lengths_B: jax.Array,
    key: jax.Array,
    n: int,
    sampling: Sampling = Sampling(),
    values: Values | None = None,
    eot: int | None = None,
    drawable_V: jax.Array | None = None,
) -> Rollout:
    """`n` tokens after each prompt: a pure function of arrays, to be called within `jax.jit`.

    Prompts are int32 and padded on the left; row b's are its last `lengths_B[b]` slots, at least one. Log-probabilities
    are those of the model itself: before temperature, cuts and penalty, over the whole vocabulary, as a policy's ratio
    needs them (Schulman et al. 2017, PPO). `drawable_V`, bool, says which ids may be drawn (None: all). `values` take
    the place of `sampling.values`: as an argument of the compiled function they make another temperature compile
    nothing.

    A row draws what `generate` draws for the same key and P, and rows that have all ended cost no further step, or on a
    GPU no further piece (`decode.pieces`). On a mesh, call it under `ops.sharding.constraining`: rows lie where the
    rules put those of activations.

    A model that computes NaN gives NaN in `log_probs_BN`. Raises ConfigError where P + n exceed the context of a model
    that is not endless, and for an n below 1.
    """
    n, (_, P), spec = whole("n", n, 1, MOST_NEW), tokens_BP.shape, module.spec
    if P + n > spec.room and not spec.endless:
        less = "" if spec.room == spec.context else f" less {spec.context - spec.room} virtual tokens"
        raise ConfigError(
            f"n: {P} prompt slots and {n} new tokens exceed model.context {spec.context}{less}; lower one"
        )
    spec, params = spec.finished(params)
    module = module.clone(spec=spec)
    inputs = Inputs(unstack(params), sampling.values if values is None else values, drawable_V)
    piece = whole_pieces(n - 1, PIECE[platform()])
    more = -(-(n - 1) // piece) * piece  # the last piece may write more than was asked for
    program = Program(module, sampling.steps, () if eot is None else (eot,), log_probs=True, piece=piece)
    P = program.slots(P)
    if sampling.min_new is not None and eot is not None:
        early_V = jnp.ones(spec.vocab_size, bool) if drawable_V is None else jnp.asarray(drawable_V)
        inputs = inputs._replace(early_V=early_V.at[eot].set(False), first_end=P + sampling.min_new)
    state = begin(program, P + 1 + more, inputs, tokens_BP, lengths_B, key)
    state = advance(program, inputs, state, more)
    assert state.log_probs_BS is not None
    tokens_BN, log_probs_BN = state.tokens_BS[:, P : P + n], state.log_probs_BS[:, P : P + n]
    if eot is None:
        return Rollout(tokens_BN, log_probs_BN, jnp.ones_like(tokens_BN, bool))
    ends_BN = tokens_BN == eot
    mask_BN = jnp.cumsum(ends_BN, 1) - ends_BN == 0
    return Rollout(jnp.where(mask_BN, tokens_BN, eot), jnp.where(mask_BN, log_probs_BN, 0.0), mask_BN)
