"""The activation seam: elementwise functions of the feed-forward layer.

Their gradients are written out: the backward pass reads the input again, in 32 bits inside, and nothing else is saved.
"""

import math
from abc import abstractmethod
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxgpt.ops.precision import wide
from jaxgpt.spec import Seam

Elementwise = Callable[[jax.Array], jax.Array]


def _with_slope(value: Elementwise, slope: Elementwise) -> Elementwise:
    """The function `value`, whose derivative is `slope`, which is given at least 32 bits."""

    @jax.custom_vjp
    def apply(x: jax.Array) -> jax.Array:
        return value(x)

    def backward(x: jax.Array, dy: jax.Array) -> tuple[jax.Array]:
        return ((wide(dy) * slope(wide(x))).astype(x.dtype),)

    apply.defvjp(lambda x: (value(x), x), backward)
    return apply


def _normal_cdf(x: jax.Array) -> jax.Array:
    return 0.5 + 0.5 * lax.erf(x * math.sqrt(0.5))  # erfc, which is exact in the far tail too, costs several times erf


def _gelu_slope(x: jax.Array) -> jax.Array:
    return _normal_cdf(x) + x * jnp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


ROOT, CUBIC = math.sqrt(8 / math.pi), 0.044715


def _gelu_tanh_share(x: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(x * (ROOT * (1 + CUBIC * x * x)))  # (1 + tanh(u)) / 2 is sigmoid(2u), exact in the tail too


def _gelu_tanh_slope(x: jax.Array) -> jax.Array:
    s = _gelu_tanh_share(x)
    return s * (1 + (1 - s) * x * (ROOT * (1 + 3 * CUBIC * x * x)))


def _silu_slope(x: jax.Array) -> jax.Array:
    s = jax.nn.sigmoid(x)
    return s * (1 + x * (1 - s))


gelu = _with_slope(lambda x: (wide(x) * _normal_cdf(wide(x))).astype(x.dtype), _gelu_slope)
# As jax writes it, XLA makes it part of a matrix product on a GPU.
gelu_tanh = _with_slope(lambda x: jax.nn.gelu(x, approximate=True), _gelu_tanh_slope)
silu = _with_slope(jax.nn.silu, _silu_slope)


class Activation(Seam, seam="activation"):
    """An elementwise function; shape and dtype are kept."""

    @abstractmethod
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the function to an array of any shape."""


class GELU(Activation):
    """x·Φ(x), with the exact distribution function of the normal law."""

    citation = "Hendrycks & Gimpel 2016, Gaussian Error Linear Units"

    def __call__(self, x: jax.Array) -> jax.Array:
        """Computes the distribution function by erf."""
        return gelu(x)


class GELUTanh(Activation):
    """The tanh approximation of GELU: what GPT-1, GPT-2 and GPT-3 trained with."""

    citation = "Hendrycks & Gimpel 2016, section 2; openai/gpt-2 model.py"

    def __call__(self, x: jax.Array) -> jax.Array:
        """x/2 · (1 + tanh(√(2/π)(x + 0.044715x³)))."""
        return gelu_tanh(x)


class ReLU(Activation, kind="relu"):
    """max(x, 0), the Transformer's original."""

    citation = "Vaswani et al. 2017, section 3.3"

    def __call__(self, x: jax.Array) -> jax.Array:
        """The larger of each entry and 0."""
        return jax.nn.relu(x)


class SiLU(Activation, kind="silu"):
    """x·sigmoid(x), the gate of Llama-type models."""

    citation = "Elfwing et al. 2017; Ramachandran et al. 2017 (swish)"

    def __call__(self, x: jax.Array) -> jax.Array:
        """Each entry times its own sigmoid."""
        return silu(x)
