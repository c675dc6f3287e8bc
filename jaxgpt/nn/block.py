"""One block from seams: attention and feed-forward around a residual stream. B batch, T tokens, D model width."""

from typing import Literal

import jax
from flax import linen as nn
from pydantic import Field, NonNegativeFloat, PositiveFloat

from jaxgpt.nn.attention import Attention
from jaxgpt.nn.cache import KV
from jaxgpt.nn.dropout import Dropout
from jaxgpt.nn.feed_forward import MLP, FeedForward
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.norm import LayerNorm, Norm
from jaxgpt.ops.attention import Kernel
from jaxgpt.ops.patterns import Pattern
from jaxgpt.ops.placing import place
from jaxgpt.ops.positions import Learned, Position
from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import Count, Width


class BlockSpec(Spec):
    """What a block is made of."""

    d_model: Width
    num_heads: Count
    num_kv_heads: Count | None = None
    """Key/value heads; None: as many as query heads. Fewer is grouped-query, one is multi-query attention."""
    d_head: Width | None = None
    """Width of a head; None: d_model / num_heads."""
    position: Position = Learned()
    norm: Norm = LayerNorm()
    norm_place: Literal["pre", "post", "both"] = "pre"
    """Before each sublayer (GPT-2), after the residual sum (GPT-1, the original Transformer), or before each sublayer
    and again before what it gives is added (Gemma 2)."""
    residual: Literal["sequential", "parallel", "parallel_one_norm"] = "sequential"
    """Whether the feed-forward layer sees what attention has added, or both read the same stream (GPT-NeoX, PaLM),
    through one norm (GPT-J). Parallel sublayers are pre-norm."""
    feed_forward: FeedForward = MLP()
    qk_norm: Norm | None = None
    """Normalises queries and keys within a head (Dehghani et al. 2023)."""
    soft_cap: PositiveFloat | None = None
    """Caps attention scores at ±this (Gemma 2)."""
    score_scale: PositiveFloat | None = None
    """What products of queries and keys are multiplied by; None: d_head^-0.5."""
    bias: bool = True
    """Whether the projections have biases."""
    qkv_bias: bool | None = None
    """The same for queries, keys and values; None: as `bias`."""
    o_bias: bool | None = None
    """The same for attention's output; None: as `bias`."""
    dropout: NonNegativeFloat = Field(default=0.0, lt=1)
    """On embeddings, attention weights and what each sublayer adds to the residual stream."""

    @property
    def head_width(self) -> int:
        """d_head, resolved."""
        return self.d_head or self.d_model // self.num_heads

    @property
    def kv_heads(self) -> int:
        """num_kv_heads, resolved."""
        return self.num_kv_heads or self.num_heads

    @property
    def has_qkv_bias(self) -> bool:
        """qkv_bias, resolved."""
        return self.bias if self.qkv_bias is None else self.qkv_bias

    @property
    def has_o_bias(self) -> bool:
        """o_bias, resolved."""
        return self.bias if self.o_bias is None else self.o_bias


class Block(nn.Module):
    """Attention, then feed-forward, each normalised and added to the stream."""

    spec: BlockSpec
    linears: Linears
    kernel: Kernel

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, layout: Layout, pattern: Pattern, cache: KV | None = None, train: bool = False
    ) -> tuple[jax.Array, KV | None]:
        """(B, T, D) -> (B, T, D), and the layer's cache where one was given."""
        spec = self.spec
        attention = Attention(
            num_heads=spec.num_heads,
            num_kv_heads=spec.kv_heads,
            d_head=spec.head_width,
            linears=self.linears,
            qkv_bias=spec.has_qkv_bias,
            o_bias=spec.has_o_bias,
            kernel=self.kernel,
            position=spec.position,
            qk_norm=spec.qk_norm,
            score_scale=spec.score_scale,
            soft_cap=spec.soft_cap,
            dropout=spec.dropout,
            name="attention",
        )
        feed_forward = spec.feed_forward.module(self.linears, "feed_forward")
        norm_1, norm_2 = spec.norm.module("norm_1"), spec.norm.module("norm_2")
        dropout = Dropout(spec.dropout)

        def drop(y_BTD: jax.Array) -> jax.Array:
            return dropout(y_BTD, deterministic=not train)

        def add(x_BTD: jax.Array, y_BTD: jax.Array) -> jax.Array:
            return x_BTD + drop(place(y_BTD, "residual"))

        def after(name: str, y_BTD: jax.Array) -> jax.Array:
            """The second norm of a sublayer, where there is one."""
            return spec.norm.module(name)(place(y_BTD, "residual")) if spec.norm_place == "both" else y_BTD

        if spec.norm_place == "post":
            y_BTD, cache = attention(place(x_BTD, "sublayer"), layout, pattern, cache, train)
            x_BTD = norm_1(add(x_BTD, y_BTD))
            return norm_2(add(x_BTD, feed_forward(place(x_BTD, "sublayer")))), cache
        h_BTD = place(norm_1(x_BTD), "sublayer")
        y_BTD, cache = attention(h_BTD, layout, pattern, cache, train)
        if spec.residual == "sequential":
            x_BTD = add(x_BTD, after("norm_1_after", y_BTD))
            y_BTD = feed_forward(place(norm_2(x_BTD), "sublayer"))
            return add(x_BTD, after("norm_2_after", y_BTD)), cache
        if spec.residual == "parallel":
            h_BTD = place(norm_2(x_BTD), "sublayer")
        return add(add(x_BTD, y_BTD), feed_forward(h_BTD)), cache
