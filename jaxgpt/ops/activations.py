"""The activation seam: elementwise functions of the feed-forward layer.

The GELUs are recomputed in the backward pass: reading their input again costs less than storing what autodiff keeps.
"""

from abc import abstractmethod
from functools import partial

import jax

from jaxgpt.spec import Seam


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
        return jax.checkpoint(partial(jax.nn.gelu, approximate=False))(x)


class GELUTanh(Activation):
    """The tanh approximation of GELU: what GPT-1, GPT-2 and GPT-3 trained with."""

    citation = "Hendrycks & Gimpel 2016, section 2; openai/gpt-2 model.py"

    def __call__(self, x: jax.Array) -> jax.Array:
        """x/2 · (1 + tanh(√(2/π)(x + 0.044715x³)))."""
        return jax.checkpoint(partial(jax.nn.gelu, approximate=True))(x)


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
        return jax.nn.silu(x)
