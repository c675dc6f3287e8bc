"""The decoder-only Transformer with every choice open. GPT-1, GPT-2 and GPT-3 are values of it.

B batch, T tokens, D model width, V vocabulary.
"""

from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from pydantic import PositiveFloat, model_validator

from jaxgpt.models.transformer import Transformer
from jaxgpt.nn.cache import KV
from jaxgpt.nn.dropout import Dropout
from jaxgpt.nn.embed import Embed
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.linear import Linear
from jaxgpt.nn.stack import Loop, Remat
from jaxgpt.ops.attention import Kernel, Places, Reference
from jaxgpt.ops.patterns import Causal, Pattern, is_relative, reach
from jaxgpt.ops.placing import place
from jaxgpt.ops.positions import Added, Learned


class Decoder(Transformer):
    """A stack of causal blocks between an embedding and a softmax over the vocabulary."""

    citation = "Vaswani et al. 2017; Radford et al. 2018, section 3.1"
    pattern: tuple[Pattern, ...] = (Causal(),)
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

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters: normal weights, zero biases, unit gains."""
        plain = self.model_copy(
            update={"pattern": self.pattern[:1]}
        )  # a cycle takes time, and parameters depend on none
        module = plain.build(loop="scan")
        return module.init(key, jnp.zeros((1, 1), jnp.int32), method="everything")["params"]

    def cache(self, rows: int, slots: int, dtype: DTypeLike = "float32") -> tuple[KV, ...]:
        """Empty caches for `rows` sequences of up to `slots` tokens, one a layer, as long as its pattern reaches."""
        held = [reach(pattern, slots) for pattern in self.layer_patterns]
        zeros = {R: jnp.zeros((rows, self.kv_heads, R, self.head_width), dtype) for R in set(held)}
        return tuple(KV(zeros[R], zeros[R]) for R in held)

    @property
    def looked_up(self) -> int:
        """Positions, and tokens where the output has a table of its own."""
        return self.position_table + (0 if self.tied else (self.vocab_size or 0) * self.d_model)

    @property
    def scores_by_table(self) -> bool:
        """See Transformer."""
        return self.tied

    @property
    def endless(self) -> bool:
        """Whether rows longer than the context mean something: positions count distances, and no pattern reaches as far
        back as the context."""
        if isinstance(self.position, Learned | Added):
            return False
        return all(is_relative(one) and reach(one, self.context + 1) <= self.context for one in self.pattern)


class DecoderLM(nn.Module):
    """The assembled language model. `apply({"params": p}, tokens)` gives logits."""

    spec: Decoder
    kernel: Kernel
    dtype: DTypeLike
    loop: Loop
    remat: Remat

    def setup(self) -> None:
        """Names the children: embed, norm_e (if embed_norm), blocks, norm_f (unless post-norm), head (unless
        tied), task."""
        spec = self.spec
        if spec.vocab_size is None:
            raise ValueError("model.vocab_size is not set")
        self.embed = Embed(
            spec.vocab_size,
            spec.d_model,
            spec.num_heads,
            spec.context,
            spec.position,
            spec.init_std,
            self.dtype,
            scale=spec.embed_scale,
        )
        self.norm_e = None if spec.embed_norm is None else spec.embed_norm.module("norm_e")
        self.blocks = spec.stack(self.kernel, self.dtype, self.loop, self.remat)
        self.norm_f = spec.norm.module("norm_f") if spec.norm_place != "post" else None
        self.head = None if spec.tied else Linear(spec.vocab_size, self.dtype, spec.init_std, bias=spec.head_bias)
        self.task = None if spec.head is None else spec.head.module(self.dtype, spec.init_std)
        self.drop = Dropout(spec.dropout)

    def __call__(self, tokens_BT: jax.Array, train: bool = False) -> jax.Array:
        """int (B, T) -> logits (B, T, V) in the compute dtype."""
        return self.unembed(self.hidden(tokens_BT, train=train))

    def hidden(
        self,
        tokens_BT: jax.Array,
        positions: jax.Array | None = None,
        segments: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """int (B, T) -> final hidden states (B, T, D). Positions (B, T) and segments (B, T) place packed documents;
        where both are given, positions must grow by one a token within a segment."""
        x_BTD, _ = self._run(tokens_BT, _layout(tokens_BT, positions, segments), None, train)
        return self._normed(x_BTD)

    def represent(self, tokens_BT: jax.Array, segments: jax.Array | None = None, train: bool = False) -> jax.Array:
        """int (B, T) -> float32 (B, ...): what `head` makes of each row's tokens, those with a segment above 0."""
        if self.task is None or self.spec.head is None:
            raise ValueError("model.head is not set: the model makes no vector of a text")
        real_BT = jnp.ones_like(tokens_BT, bool) if segments is None else segments > 0
        states = self.states(tokens_BT, segments, train, self.spec.head.layered)
        return self.task(states, real_BT, train)

    def states(
        self, tokens_BT: jax.Array, segments: jax.Array | None = None, train: bool = False, every: bool = True
    ) -> list[jax.Array]:
        """The outputs (B, T, D) of all layers, or of the last alone; the last is as `hidden` gives it."""
        x, _ = self._run(tokens_BT, _layout(tokens_BT, None, segments), None, train, every)
        return [*x[:-1], self._normed(x[-1])] if every else [self._normed(x)]

    def everything(self, tokens_BT: jax.Array) -> tuple[Any, ...]:
        """What every head says: initialising by it makes all parameters."""
        return self(tokens_BT), None if self.task is None else self.represent(tokens_BT)

    def extend(self, tokens_BT: jax.Array, layout: Layout, cache: tuple[KV, ...]) -> tuple[jax.Array, tuple[KV, ...]]:
        """Continues cached sequences by T tokens: hidden states (B, T, D) and the grown caches."""
        x_BTD, grown = self._run(tokens_BT, layout, cache, False)
        return self._normed(x_BTD), grown

    def unembed(self, hidden: jax.Array) -> jax.Array:
        """(..., D) -> logits (..., V)."""
        logits, cap = self.embed.attend(hidden) if self.head is None else self.head(hidden), self.spec.logit_cap
        return place(logits if cap is None else cap * jnp.tanh(logits / cap), "logits")

    def _normed(self, x_BTD: jax.Array) -> jax.Array:
        return place(x_BTD if self.norm_f is None else self.norm_f(x_BTD), "sublayer")

    def _run(
        self, tokens_BT: jax.Array, layout: Layout, cache: tuple[KV, ...] | None, train: bool, every: bool = False
    ) -> tuple[jax.Array, Any]:
        x_BTD = place(self.embed(tokens_BT, layout), "residual")
        x_BTD = self.drop(x_BTD if self.norm_e is None else self.norm_e(x_BTD), deterministic=not train)
        return self.blocks(x_BTD, layout._replace(bias_table=self.embed.bias_table), cache, train, every)


def _layout(tokens_BT: jax.Array, positions: jax.Array | None, segments: jax.Array | None) -> Layout:
    places: Places = "row" if positions is None else "documents" if segments is not None else "any"
    pos = jnp.arange(tokens_BT.shape[1], dtype=jnp.int32) if positions is None else positions
    return Layout(pos, segments, places)
