"""The head that answers about a text: dropout and an affine map on what a row is pooled to.

B batch, T tokens, L layers, D model width, C outputs.
"""

from collections.abc import Sequence
from typing import Annotated, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import Field, PositiveFloat, field_validator

from jaxgpt.nn.dropout import Dropout
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.text_head import Summary, TextHead
from jaxgpt.ops.pooling import NAMES, layered, pool
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean, quote
from jaxgpt.text import Target

Label = Annotated[str, Field(max_length=1000)]


class TaskHead(TextHead, kind="task"):
    """A score for each label, or one number: of a text, or of two joined in one row."""

    citation = "Radford et al. 2018, section 3.2; Devlin et al. 2019, section 4.1"
    inputs = switches = ("dropout",)
    judges = True
    labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=2**16)] | None = None
    """Names of the outputs; None: those of the training data, and where these have none, one output."""
    pooling: str | None = None
    """How a row's tokens become one state. None: as the model itself sums up a row: by its pooler, without one by the
    first token, a decoder by the last token, such as GPT-1's extract. Else one of cls, last, mean, max, mean_sqrt_len,
    weighted_mean, first_last, top2."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Of the pooled state."""
    bias: bool = True
    scale: tuple[float, PositiveFloat] | None = None
    """Mean and standard deviation of the scores that a single output gives: the affine map gives it in deviations from
    the mean. None: those of the training data, where it has scores."""

    @field_validator("pooling")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in NAMES:
            raise ValueError(f"unknown pooling {quote(name)}{did_you_mean(name, NAMES)}")
        return name

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if labels is not None and (twice := [label for i, label in enumerate(labels) if label in labels[:i]]):
            raise ValueError(f"{quote(twice[0])} stands there twice")
        return labels

    @property
    def layered(self) -> bool:
        """Whether the pooling mixes several layers' outputs, as `first_last` does."""
        return self.pooling is not None and layered([self.pooling])

    def complete(self, target: Target | None) -> bool:
        """Whether it has labels for classes, and a scale for numbers."""
        return self.labels is not None if target == "class" else self.scale is not None or target != "number"

    def problems(self) -> list[str]:
        """Labels together with a scale, which belongs to one number."""
        if self.labels is not None and self.scale is not None:
            return ["text_head.scale is that of one number; leave out text_head.labels"]
        return []

    def size(self, d_model: int) -> int:
        """As many as there are labels, else 1."""
        return 1 if self.labels is None else len(self.labels)

    def module(self, linears: Linears) -> nn.Module:
        """Parameters `out`."""
        return _TaskHead(self, linears)

    def settle(self, labels: tuple[str, ...] | None, scale: tuple[float, float] | None) -> Self:
        """With the data's labels, or the scale of their scores. Raises ConfigError for labels that are other ones, or
        in another order."""
        if labels is not None and self.labels is not None and labels != self.labels:
            raise ConfigError(
                f"model.text_head.labels: {quote(self.labels)} are not those of the data, {quote(labels)}; leave it out"
            )
        return self.evolve(labels=self.labels or labels, scale=self.scale or scale)


class _TaskHead(nn.Module):
    spec: TaskHead
    linears: Linears

    def pool(self, states_LBTD: Sequence[jax.Array] | jax.Array, real_BT: jax.Array, summary: Summary) -> jax.Array:
        """float32 (B, D), by the spec's pooling or else the model's own."""
        if self.spec.pooling is not None:
            return pool(self.spec.pooling, states_LBTD, real_BT)
        return summary(states_LBTD[-1], real_BT).astype(jnp.float32)

    @nn.compact
    def __call__(self, pooled: jax.Array, train: bool) -> jax.Array:
        """(..., D) -> float32 (..., C), computed in float32: the outputs are few, and ranked. Of (B, N, D) all N of a
        row lose the same channels to dropout, as the candidates that they are (openai/finetune-transformer-lm)."""
        shape = (*pooled.shape[:1], *(1 for _ in pooled.shape[1:-1]), pooled.shape[-1])
        drop = Dropout(self.spec.dropout)(jnp.ones(shape, pooled.dtype), deterministic=not train)
        linears = self.linears._replace(dtype=jnp.float32)
        outputs = linears(self.spec.size(pooled.shape[-1]), "out", bias=self.spec.bias)(pooled * drop)
        mean, deviation = self.spec.scale or (0.0, 1.0)
        return outputs if self.spec.scale is None else mean + deviation * outputs
