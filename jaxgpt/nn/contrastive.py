"""The head that makes one vector of a text: pooling, then a projection. L layers, B batch, T tokens, D model width."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import PositiveFloat, field_validator

from jaxgpt.nn.linear import Linears
from jaxgpt.nn.text_head import Summary, TextHead
from jaxgpt.ops.pooling import NAMES, layered, pool
from jaxgpt.spec.errors import did_you_mean, quote
from jaxgpt.spec.sizes import Width


class Contrastive(TextHead):
    """One vector a text, to be compared by its cosine."""

    citation = "Gao et al. 2021 (SimCSE), section 6.1; Chen et al. 2020 (SimCLR), section 4.2"
    embeds = True
    pooling: str = "mean"
    """One of cls, last, mean, max, mean_sqrt_len, weighted_mean, first_last, top2; and `cls_before_pooler`, cls whose
    projection serves in training only, as unsupervised SimCSE is evaluated."""
    projection: Literal["none", "linear", "tanh", "mlp"] = "none"
    """`tanh`: dense and tanh (SimCSE's head); `mlp`: dense, ReLU, dense (SimCLR's)."""
    width: Width | None = None
    """Of the vectors; None: the model's. Needs a projection."""
    temperature: PositiveFloat | None = None
    """Where set, the loss's temperature is a parameter that starts here (CLIP, Radford et al. 2021, section 2.3)."""

    @field_validator("pooling")
    @classmethod
    def _known(cls, name: str) -> str:
        known = [*NAMES, "cls_before_pooler"]
        if name not in known:
            raise ValueError(f"unknown pooling {quote(name)}{did_you_mean(name, known)}")
        return name

    @property
    def layered(self) -> bool:
        """Whether the pooling mixes several layers' outputs, as `first_last` does."""
        return layered([self.pooling])

    def problems(self) -> list[str]:
        """A width without a projection, which alone could make it."""
        return (
            ["text_head.width needs a projection; set text_head.projection"]
            if self.width and self.projection == "none"
            else []
        )

    def size(self, d_model: int) -> int:
        """Numbers in a text's vector: `width`, or else the model's."""
        return self.width or d_model

    def module(self, linears: Linears) -> nn.Module:
        """Parameters `dense` and, of an `mlp`, `out`; `log_temperature` where it is learned."""
        return _Contrastive(self, linears)


class _Contrastive(nn.Module):
    spec: Contrastive
    linears: Linears

    def pool(self, states_LBTD: Sequence[jax.Array] | jax.Array, real_BT: jax.Array, summary: Summary) -> jax.Array:
        """float32 (B, D), by the spec's pooling."""
        return pool("cls" if self.spec.pooling == "cls_before_pooler" else self.spec.pooling, states_LBTD, real_BT)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Pooled texts (B, D) -> embeddings, float32 (B, width)."""
        spec = self.spec
        before = spec.pooling == "cls_before_pooler"
        if spec.temperature is not None:
            self.param("log_temperature", nn.initializers.constant(jnp.log(spec.temperature)), (), jnp.float32)
        if spec.projection == "none" or (before and not train and not self.is_initializing()):
            return x
        inner = x.shape[-1] if spec.projection == "mlp" else spec.size(x.shape[-1])
        x = self.linears(inner, "dense", bias=True)(x)
        if spec.projection == "tanh":
            x = jnp.tanh(x)
        elif spec.projection == "mlp":
            x = self.linears(spec.size(x.shape[-1]), "out", bias=True)(jax.nn.relu(x))
        return x.astype(jnp.float32)
