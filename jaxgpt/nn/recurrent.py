"""Recurrent layers over rows of tokens. B rows, T tokens, I inputs, H units, X = gates · units."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxgpt.nn.layout import Layout
from jaxgpt.ops.attention import SHARED
from jaxgpt.ops.cells import Cell, State
from jaxgpt.ops.lookup import lookup, unproject
from jaxgpt.ops.matmul import matmul, project
from jaxgpt.ops.recurrence import recur, recur_apart
from jaxgpt.spec.inputs import enabled


def uniform(bound: float) -> Callable[..., jax.Array]:
    """Even over -bound to bound."""

    def start(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return start


class RecurrentLayer(nn.Module):
    """One cell over the tokens of each row: (B, T, I) -> (B, T, H).

    Parameters `weight` (I, X) and `bias` (X,) of what a token contributes, `state_weight` (H, X) and, where there is
    one, `state_bias` of what the state does.
    """

    cell: Cell
    units: int
    two_biases: bool
    bound: float
    """Parameters start evenly over -bound to bound."""
    weight_drop: float | jax.Array
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x_BTI: jax.Array, layout: Layout, start: State | None = None, train: bool = False
    ) -> tuple[jax.Array, State]:
        """The outputs in the compute dtype, and the last state, float32 (B, H) each; `start`: the state before, zero
        where not given."""
        cell, H, even = self.cell, self.units, uniform(self.bound)
        B, T, inputs = x_BTI.shape
        X = cell.gates * H
        w_IX = self.param("weight", even, (inputs, X), jnp.float32)
        w_HX = self.param("state_weight", even, (H, X), jnp.float32)
        bias_X = self.param("bias", lambda key: even(key, (X,)) + cell.bias(H))
        own = cell.gates if self.two_biases else cell.apart
        state_bias_X = jnp.zeros(X, jnp.float32)
        if own:
            state_bias_X = jnp.pad(self.param("state_bias", even, (own * H,), jnp.float32), (X - own * H, 0))
        if train and enabled(self.weight_drop):
            keep = 1 - jnp.float32(self.weight_drop)
            mask_HX = jax.random.bernoulli(self.make_rng("dropout"), keep, w_HX.shape)
            w_HX = jnp.where(mask_HX, w_HX / keep, 0.0)
        x_TBI = jnp.swapaxes(x_BTI.astype(self.dtype), 0, 1)
        token_NX = matmul(x_TBI.reshape(T * B, inputs), w_IX.astype(self.dtype)).astype(jnp.float32) + bias_X
        if start is None:
            start = (jnp.zeros((B, H), jnp.float32),) * cell.arrays
        given = cell, token_NX.reshape(T, B, X), w_HX.astype(self.dtype), state_bias_X, start
        begins_BT = _begins(layout, B)
        if layout.pos.ndim == 1 or layout.numbering == "documents":
            (y_TBH, *_), last = recur(*given, None if begins_BT is None else begins_BT.T)
        else:  # texts behind padding, or that begin alike
            no_BT = jnp.zeros((B, T), bool)
            shared_BT = no_BT if layout.segment is None else layout.segment == SHARED
            real_BT = jnp.broadcast_to(layout.pos >= 0, (B, T))
            masks = (mask.T for mask in (real_BT, shared_BT, no_BT if begins_BT is None else begins_BT))
            (y_TBH, *_), last = recur_apart(*given, *masks)
        return jnp.swapaxes(y_TBH, 0, 1).astype(self.dtype), last


def _begins(layout: Layout, rows: int) -> jax.Array | None:
    """bool (B, T): tokens of another segment than the one before them; None where there are no segments."""
    if layout.segment is None:
        return None
    segment_BT = jnp.broadcast_to(layout.segment, (rows, layout.segment.shape[-1]))
    return jnp.pad(segment_BT[:, 1:] != segment_BT[:, :-1], ((0, 0), (1, 0)))


class TokenTable(nn.Module):
    """Parameter `token` (V, D): what tokens are on the way in, and may be scored against."""

    vocab_size: int
    width: int
    bound: float
    drop: float | jax.Array
    """Share of the vocabulary whose vectors are zero in a step (Gal & Ghahramani 2016)."""
    dtype: DTypeLike

    def setup(self) -> None:
        """Declares the table."""
        self.token = self.param("token", uniform(self.bound), (self.vocab_size, self.width), jnp.float32)

    def __call__(self, tokens_BT: jax.Array, train: bool) -> jax.Array:
        """int (B, T) -> (B, T, D)."""
        x_BTD = lookup(self.token, tokens_BT, "vocabulary_gradient")
        if train and enabled(self.drop):
            keep = 1 - jnp.float32(self.drop)
            kept_V = jax.random.bernoulli(self.make_rng("dropout"), keep, (self.vocab_size,))
            x_BTD = x_BTD * (kept_V[tokens_BT] / keep)[..., None]
        return x_BTD.astype(self.dtype)

    def attend(self, h: jax.Array, columns: int | None = None) -> jax.Array:
        """(..., D) -> (..., V), or (..., columns): scores against the table."""
        return unproject(h.astype(self.dtype), self.token.astype(self.dtype), columns)


class Unembed(nn.Module):
    """(..., D) -> (..., V): parameters `bias` (V,), which starts at 0, and unless `tied` `weight` (D, V)."""

    vocab_size: int
    tied: bool
    bound: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, h: jax.Array, attend: Callable[[jax.Array, int | None], jax.Array], columns: int | None = None
    ) -> jax.Array:
        """`attend(h, columns)` scores (..., D) against the token table."""
        more = 0 if columns is None else columns - self.vocab_size
        bias = self.param("bias", nn.initializers.zeros, (self.vocab_size,), jnp.float32)
        if self.tied:
            scores = attend(h, columns)
        else:
            weight = self.param("weight", uniform(self.bound), (h.shape[-1], self.vocab_size), jnp.float32)
            scores = project(h.astype(self.dtype), jnp.pad(weight.astype(self.dtype), ((0, 0), (0, more))))
        return scores + jnp.pad(bias.astype(self.dtype), (0, more))
