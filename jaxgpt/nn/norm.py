"""The norm seam. A norm is a value that makes its module."""

from abc import abstractmethod

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import Field

from jaxgpt.ops.normalize import layer_norm, rms_norm
from jaxgpt.spec import Seam


class Norm(Seam, seam="norm"):
    """Base of all norms of the last axis."""

    @abstractmethod
    def module(self, name: str) -> nn.Module:
        """A Linen module (..., D) -> (..., D), named for its place."""


class LayerNorm(Norm, kind="layer"):
    """Shifts and scales to zero mean and unit variance, then applies a gain and (unless `bias` is false) a bias."""

    citation = "Ba et al. 2016"
    eps: float = Field(default=1e-5, gt=0, le=1e9)
    bias: bool = True

    def module(self, name: str) -> nn.Module:
        """Parameters `scale` (D,) and `bias` (D,)."""
        return _LayerNorm(self.eps, self.bias, name=name)


class RMSNorm(Norm, kind="rms"):
    """Divides by the root mean square, then applies a gain."""

    citation = "Zhang & Sennrich 2019"
    eps: float = Field(default=1e-5, gt=0, le=1e9)
    zero_centered: bool = False
    """Whether the gain is stored less 1, so that decay and rounding draw it to 1 (Gemma)."""

    def module(self, name: str) -> nn.Module:
        """Parameter `scale` (D,), the gain, or the gain less 1."""
        return _RMSNorm(self.eps, self.zero_centered, name=name)


class _LayerNorm(nn.Module):
    eps: float
    bias: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32) if self.bias else None
        return layer_norm(x, scale, bias, self.eps)


class _RMSNorm(nn.Module):
    eps: float
    zero_centered: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        start = nn.initializers.zeros if self.zero_centered else nn.initializers.ones
        scale = self.param("scale", start, x.shape[-1:], jnp.float32)
        return rms_norm(x, 1 + scale if self.zero_centered else scale, self.eps)
