"""The cell seam: what a recurrent layer does with one token. B rows, H units, X = gates · units.

A cell is given what the token and what the state before it contribute, each a product with a matrix whose columns are
the cell's gates side by side, as torch orders them.
"""

from abc import abstractmethod
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from jaxgpt.spec import Seam

State = tuple[jax.Array, ...]
"""Arrays (B, H), of which the first is the cell's output."""


class Cell(Seam, seam="cell"):
    """Base of all recurrent cells."""

    gates: ClassVar[int]
    """Columns of its matrices, in units."""
    arrays: ClassVar[int] = 1
    """Of its state."""
    apart: ClassVar[int] = 0
    """Of how many gates, the last ones, what the state contributes has a bias of its own in any case."""

    @abstractmethod
    def step(self, token_BX: jax.Array, before_BX: jax.Array, state: State) -> State:
        """The state after a token, from what the token and what the state's output contribute."""

    def bias(self, units: int) -> np.ndarray:
        """float32 (X,): what its bias starts with, beside what is drawn."""
        return np.zeros(self.gates * units, np.float32)


class Elman(Cell):
    """h' = f(W x + U h + b)."""

    citation = "Elman 1990; Mikolov et al. 2010"
    gates = 1
    activation: Literal["tanh", "relu"] = "tanh"

    def step(self, token_BX: jax.Array, before_BX: jax.Array, state: State) -> State:
        """See `Cell.step`."""
        function = jnp.tanh if self.activation == "tanh" else jax.nn.relu
        return (function(token_BX + before_BX),)


class LSTM(Cell, kind="lstm"):
    """c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c'); the gates are i, f, g, o. Without peepholes."""

    citation = "Hochreiter & Schmidhuber 1997; Gers et al. 2000 (the forget gate); Zaremba et al. 2014, section 3.1"
    gates, arrays = 4, 2
    forget_bias: float = Field(default=0.0, ge=-100, le=100)
    """What the bias of f starts with, beside what is drawn (Jozefowicz et al. 2015: 1)."""

    def step(self, token_BX: jax.Array, before_BX: jax.Array, state: State) -> State:
        """See `Cell.step`."""
        i, f, g, o = jnp.split(token_BX + before_BX, 4, -1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    def bias(self, units: int) -> np.ndarray:
        """See `Cell.bias`."""
        return np.repeat(np.array([0, self.forget_bias, 0, 0], np.float32), units)


class GRU(Cell, kind="gru"):
    """h' = (1 - z) n + z h with n = tanh(W x + b + r (U h + d)); the gates are r, z, n.

    r meets the product with h, as in cuDNN and torch; in the paper it meets h before."""

    citation = "Cho et al. 2014"
    gates, apart = 3, 1

    def step(self, token_BX: jax.Array, before_BX: jax.Array, state: State) -> State:
        """See `Cell.step`."""
        r, z, n = jnp.split(token_BX, 3, -1)
        r_before, z_before, n_before = jnp.split(before_BX, 3, -1)
        r, z = jax.nn.sigmoid(r + r_before), jax.nn.sigmoid(z + z_before)
        n = jnp.tanh(n + r * n_before)
        return ((1 - z) * n + z * state[0],)
