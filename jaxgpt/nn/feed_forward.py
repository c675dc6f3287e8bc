"""The feed-forward seam: what each token does alone. F is the inner width."""

from abc import abstractmethod

import jax
from flax import linen as nn

from jaxgpt.nn.linear import Linears
from jaxgpt.ops.activations import Activation, GELUTanh, SiLU
from jaxgpt.ops.sharding import constrain
from jaxgpt.spec import Seam
from jaxgpt.spec.sizes import Count, Length


class FeedForward(Seam, seam="feed_forward"):
    """Maps (B, T, D) to (B, T, D), token by token."""

    @abstractmethod
    def module(self, linears: Linears, name: str) -> nn.Module:
        """The Linen module that computes it, (..., D) -> (..., D)."""


class Sparse(FeedForward):
    """A feed-forward layer of which a token passes through a part: what lies below `experts` leads with the experts."""

    num_experts: Count

    @property
    @abstractmethod
    def share(self) -> float:
        """Share of the parameters below `experts` that a token meets."""


class MLP(FeedForward):
    """Two projections with an activation between."""

    citation = "Vaswani et al. 2017, section 3.3"
    d_ff: Length | None = None
    """Inner width; None: four times the model's."""
    activation: Activation = GELUTanh()

    def module(self, linears: Linears, name: str) -> nn.Module:
        """Parameters `up` and `down`."""
        return _MLP(self, linears, name=name)


class Gated(FeedForward):
    """The gate's activation times a linear branch: GLU variants such as SwiGLU (SiLU) and GeGLU (GELU)."""

    citation = "Shazeer 2020, GLU Variants Improve Transformer"
    d_ff: Length | None = None
    """Inner width; None: 8/3 of the model's, so that the parameters equal an MLP's."""
    activation: Activation = SiLU()

    def module(self, linears: Linears, name: str) -> nn.Module:
        """Parameters `gate`, `up` and `down`."""
        return _Gated(self, linears, name=name)


class _MLP(nn.Module):
    spec: MLP
    linears: Linears

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        D = x_BTD.shape[-1]
        h_BTF = self.spec.activation(constrain(self.linears(self.spec.d_ff or 4 * D, "up")(x_BTD), "inner"))
        return self.linears(D, "down", into_residual=True)(h_BTF)


class _Gated(nn.Module):
    spec: Gated
    linears: Linears

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        D = x_BTD.shape[-1]
        F = self.spec.d_ff or 8 * D // 3
        gate_BTF = self.spec.activation(constrain(self.linears(F, "gate")(x_BTD), "inner"))
        return self.linears(D, "down", into_residual=True)(gate_BTF * constrain(self.linears(F, "up")(x_BTD), "inner"))
