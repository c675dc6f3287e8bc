"""The decoder-only Transformer with every choice open. GPT-1, GPT-2 and GPT-3 are values of it.

B batch, T tokens, D model width, V vocabulary.
"""

from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from pydantic import PositiveFloat, model_validator

from jaxgpt.models.transformer import Transformer, TransformerModule
from jaxgpt.nn.cache import Cache
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.remat import Remat
from jaxgpt.nn.stack import Loop
from jaxgpt.ops.attention import Kernel, Reference
from jaxgpt.ops.patterns import Causal, Pattern, is_relative, reach
from jaxgpt.ops.pooling import last
from jaxgpt.ops.sharding import constrain


class Decoder(Transformer):
    """A stack of causal blocks between an embedding and a softmax over the vocabulary."""

    citation = "Vaswani et al. 2017; Radford et al. 2018, section 3.1"
    pattern: tuple[Pattern, ...] = (Causal(),)
    lm_head: bool = True
    """Whether hidden states are scored against the vocabulary; without it the model ends with them."""
    tied: bool = True
    """Whether the output scores against the token embedding (Press & Wolf 2017)."""
    head_bias: bool = False
    """Whether an output of its own has a bias (GPT-J)."""
    logit_cap: PositiveFloat | None = None
    """Caps logits at ±this, as cap·tanh(logit / cap) (Gemma 2)."""
    embed_scale: PositiveFloat | None = None
    """What token embeddings are multiplied by on the way in; Gemma's √d_model."""

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.tied and self.head_bias:
            raise ValueError("head_bias needs an output of its own; set tied false")
        return self

    def build(
        self, kernel: Kernel = Reference(), dtype: DTypeLike = "float32", loop: Loop = "unroll", remat: Remat = "none"
    ) -> "DecoderLM":
        """The module; `vocab_size` must be known by now."""
        return DecoderLM(self, kernel, jnp.dtype(dtype), loop, remat)

    @property
    def scores_by_table(self) -> bool:
        """Whether there is an output, and it is tied to the token embedding."""
        return self.lm_head and self.tied

    @property
    def continues(self) -> bool:
        """Whether it predicts what follows: not without an output over the vocabulary."""
        return self.lm_head

    @property
    def pooling(self) -> str:
        """`last`: the last token has seen all others."""
        return "last"

    @property
    def endless(self) -> bool:
        """Whether rows longer than the context mean something: positions count distances, and no pattern reaches as far
        back as the context."""
        return not self.position.bounded and all(
            is_relative(p) and reach(p, self.context + 1) <= self.context for p in self.pattern
        )


class DecoderLM(TransformerModule):
    """The assembled language model. `apply({"params": p}, tokens)` gives logits, or hidden states without an output."""

    spec: Decoder

    def setup(self) -> None:
        """Names the children: those of the trunk, lm_head (unless tied, or left out), text_head."""
        spec = self.spec
        self.trunk = spec.trunk(self.kernel, self.dtype, self.loop, self.remat, embed_scale=spec.embed_scale)
        nn.share_scope(self, self.trunk)
        linears = spec.linears(self.dtype)
        own = spec.lm_head and not spec.tied
        self.lm_head = linears(self.trunk.vocab_size, "lm_head", bias=spec.head_bias) if own else None
        self.text_head = spec.text_head and spec.text_head.module(linears)

    def __call__(self, tokens_BT: jax.Array, train: bool = False) -> jax.Array:
        """int (B, T) -> logits (B, T, V), or (B, T, D) without an output, in the compute dtype."""
        hidden_BTD = self.hidden(tokens_BT, train=train)
        return self.unembed(hidden_BTD) if self.spec.lm_head else hidden_BTD

    def extend(self, tokens_BT: jax.Array, layout: Layout, cache: Cache) -> tuple[jax.Array, Cache]:
        """Continues cached sequences by T tokens: hidden states (B, T, D) and the grown caches."""
        return self.trunk.extend(tokens_BT, layout, cache)

    def unembed(self, hidden: jax.Array, columns: int | None = None) -> jax.Array:
        """(..., D) -> logits (..., V), or (..., columns), of which those beyond V belong to no token."""
        if not self.spec.lm_head:
            raise ValueError("model.lm_head is off: the model has no logits")
        score = self.trunk.embed.attend if self.lm_head is None else self.lm_head
        logits = score(hidden, columns)
        cap = self.spec.logit_cap
        return constrain(logits if cap is None else cap * jnp.tanh(logits / cap), "logits")

    def summary(self, hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
        """float32 (B, D): the last real token's state, which alone has seen all others."""
        return last(hidden_BTD, real_BT)

    def init_all_heads(self, tokens_BT: jax.Array) -> tuple[Any, ...]:
        """The outputs of all heads: initialising by it makes all parameters."""
        return self(tokens_BT), None if self.text_head is None else self.represent(tokens_BT)
