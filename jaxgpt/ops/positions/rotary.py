"""Rotary positions, and the ways to stretch them over longer texts than they were trained on.

B batch, T tokens, H heads, K head width.
"""

from abc import abstractmethod
from functools import partial
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from jaxgpt.ops.positions.position import Rotated
from jaxgpt.spec.sizes import Length

Pairing = Literal["interleaved", "half"]


class Turning(Rotated):
    """Pairs of channels turn by an angle proportional to the position, each pair at its own rate."""

    theta: float = Field(default=10000.0, ge=1, le=1e30)
    """Below 1 later pairs would turn faster than the first, by what no float32 holds."""
    pairing: Pairing = "interleaved"
    """`interleaved` pairs channels (2i, 2i+1) as RoFormer does; `half` pairs (i, i + K/2) as Llama-type weights do."""

    @abstractmethod
    def rates(self, d_head: int) -> np.ndarray:
        """float64 (K/2,): radians a position."""

    @abstractmethod
    def magnitude(self) -> float:
        """What rotated queries and keys are multiplied by."""

    def rotate(self, x_BHTK: jax.Array, pos_BT: jax.Array) -> jax.Array:
        """Turns pairs of channels in float32, then goes back to the input's dtype. K must be even."""
        half = x_BHTK.shape[-1] // 2
        rate, size = jnp.asarray(self.rates(2 * half), jnp.float32), np.float32(self.magnitude())
        angle = pos_BT[..., None, :, None].astype(jnp.float32) * rate
        cos, sin = size * jnp.cos(angle), size * jnp.sin(angle)
        return turned(x_BHTK.astype(jnp.float32), cos, sin, self.pairing).astype(x_BHTK.dtype)


class PureRotation(Turning):
    """Rotations that keep the lengths of queries and keys."""

    def magnitude(self) -> float:
        """1, since a rotation scales nothing."""
        return 1.0


class Rotary(PureRotation):
    """RoPE: pairs of channels turn by pos·θ^(−2i/K), so scores depend on distance alone."""

    citation = "Su et al. 2021 (RoFormer), section 3.2"

    def rates(self, d_head: int) -> np.ndarray:
        """Radians a position of pair i: θ^(−2i/K)."""
        return plain_rates(self.theta, d_head)


class RotaryLinear(PureRotation):
    """Position interpolation: positions are divided by `factor`."""

    citation = "Chen et al. 2023 (Position Interpolation), section 3.2"
    factor: float = Field(gt=1, le=1e6)
    """How much longer the texts are than those of training."""

    def rates(self, d_head: int) -> np.ndarray:
        """Radians a position of pair i: θ^(−2i/K) / factor."""
        return plain_rates(self.theta, d_head) / self.factor


class RotaryNTK(PureRotation, kind="rotary_ntk"):
    """A larger θ: the slowest pair turns `factor` times slower, the fastest as before."""

    citation = "bloc97 2023 (NTK-aware scaled RoPE); Peng et al. 2024 (YaRN), section 3.1"
    factor: float = Field(gt=1, le=1e6)

    def rates(self, d_head: int) -> np.ndarray:
        """(θ·factor^(K/(K−2)))^(−2i/K)."""
        return plain_rates(self.theta * self.factor ** (d_head / max(d_head - 2, 1)), d_head)


class RotaryYaRN(Turning, kind="rotary_yarn"):
    """Slow pairs are interpolated, fast ones kept, a ramp between; scores are sharpened a little."""

    citation = "Peng et al. 2024 (YaRN), sections 3.2 and 3.4"
    factor: float = Field(gt=1, le=1e6)
    trained: Length
    """The context of training, in tokens."""
    fast: PositiveFloat = 32.0
    """Pairs that turn more often than this over `trained` tokens are kept (the paper's β)."""
    slow: PositiveFloat = 1.0
    """Pairs that turn less often are interpolated (α)."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.slow >= self.fast:
            raise ValueError(f"slow {self.slow} must lie below fast {self.fast}")
        if self.theta <= 1:
            raise ValueError(f"theta {self.theta} must exceed 1, or all pairs turn alike")
        return self

    def rates(self, d_head: int) -> np.ndarray:
        """θ^(−2i/K), divided by factor as far as the ramp says. The ramp's ends are rounded outwards to whole pairs."""
        rates, pair = plain_rates(self.theta, d_head), np.arange(d_head // 2)
        first, last = np.floor(self._pair(self.fast, d_head)), np.ceil(self._pair(self.slow, d_head))
        first, last = max(first, 0.0), min(last, d_head - 1.0)
        ramp = np.clip((pair - first) / max(last - first, 1e-3), 0, 1)
        return rates * (1 - ramp) + rates / self.factor * ramp

    def magnitude(self) -> float:
        """√(1/t) = 0.1·ln(factor) + 1, so that scores grow by 1/t."""
        return 0.1 * float(np.log(self.factor)) + 1.0

    def _pair(self, turns: float, d_head: int) -> float:
        """The (fractional) pair that turns `turns` times over the trained context."""
        return d_head * np.log(self.trained / (turns * 2 * np.pi)) / (2 * np.log(self.theta))


class RotaryLlama3(PureRotation, kind="rotary_llama3"):
    """Pairs that turn seldom over the trained context are interpolated, those that turn often kept, a ramp between."""

    citation = "Grattafiori et al. 2024 (Llama 3); meta-llama/llama-models, models/llama3/model.py, apply_scaling"
    factor: float = Field(gt=1, le=1e6)
    trained: Length = 8192
    """The context of training, in tokens."""
    fast: PositiveFloat = 4.0
    """Pairs that turn more often than this over `trained` tokens are kept."""
    slow: PositiveFloat = 1.0
    """Pairs that turn less often are interpolated."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.slow >= self.fast:
            raise ValueError(f"slow {self.slow} must lie below fast {self.fast}")
        return self

    def rates(self, d_head: int) -> np.ndarray:
        """θ^(−2i/K), divided by factor as far as the ramp says, which is linear in how often a pair turns."""
        rates = plain_rates(self.theta, d_head)
        turns = self.trained * rates / (2 * np.pi)
        unscaled = np.clip((turns - self.slow) / (self.fast - self.slow), 0, 1)
        return rates * unscaled + rates / self.factor * (1 - unscaled)


def plain_rates(theta: float, d_head: int) -> np.ndarray:
    """float64 (K/2,): θ^(−2i/K)."""
    half = d_head // 2
    return theta ** (-np.arange(half) / half)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def turned(x: jax.Array, cos: jax.Array, sin: jax.Array, pairing: Pairing) -> jax.Array:
    """Pairs of the last axis (..., K) turned by angles of these cosines and sines (..., K/2), which get no gradient.

    The gradient of x is turned back: written out, as autodiff would sum up a padded array for each half.
    """
    half = x.shape[-1] // 2
    if pairing == "half":
        a, b = x[..., :half], x[..., half:]
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
    a, b = x[..., 0::2], x[..., 1::2]
    return jnp.stack([a * cos - b * sin, b * cos + a * sin], -1).reshape(x.shape)


def _turned(x: jax.Array, cos: jax.Array, sin: jax.Array, pairing: Pairing) -> tuple[jax.Array, Any]:
    return turned(x, cos, sin, pairing), (cos, sin)


def _turned_back(pairing: Pairing, angles: Any, grad: jax.Array) -> tuple[jax.Array, None, None]:
    cos, sin = angles
    return turned(grad, cos, -sin, pairing), None, None


turned.defvjp(_turned, _turned_back)
