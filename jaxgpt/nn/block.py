"""One block from seams: attention and feed-forward around a residual stream. B batch, T tokens, D model width."""

from functools import partial

import jax
from flax import linen as nn
from pydantic import Field, NonNegativeFloat, PositiveFloat

from jaxgpt.nn.adapter import Place
from jaxgpt.nn.attention import Attention
from jaxgpt.nn.cache import KV, LayerCache
from jaxgpt.nn.dropout import Dropout
from jaxgpt.nn.feed_forward import MLP, FeedForward
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.norm import LayerNorm, Norm
from jaxgpt.nn.norm_place import NormPlace, PreNorm
from jaxgpt.nn.residual import Residual, Sequential
from jaxgpt.nn.sublayer import Sublayer
from jaxgpt.ops.attention import Kernel
from jaxgpt.ops.patterns import Bidirectional, Pattern
from jaxgpt.ops.positions import Learned, NoPosition, Position
from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import Count, Width


class BlockSpec(Spec):
    """The sizes and mechanisms of a block: attention and a feed-forward layer around a residual stream."""

    d_model: Width
    num_heads: Count
    num_kv_heads: Count | None = None
    """Key/value heads; None: as many as query heads. Fewer is grouped-query, one is multi-query attention."""
    d_head: Width | None = None
    """Width of a head; None: d_model / num_heads."""
    position: Position = Learned()
    norm: Norm = LayerNorm()
    norm_place: NormPlace = PreNorm()
    residual: Residual = Sequential()
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
        """Channels of a head: `d_head`, or else d_model / num_heads."""
        return self.d_head or self.d_model // self.num_heads

    @property
    def kv_heads(self) -> int:
        """Key and value heads: `num_kv_heads`, or else as many as query heads."""
        return self.num_kv_heads or self.num_heads

    @property
    def has_qkv_bias(self) -> bool:
        """Whether queries, keys and values have biases: `qkv_bias`, or else `bias`."""
        return self.bias if self.qkv_bias is None else self.qkv_bias

    @property
    def has_o_bias(self) -> bool:
        """Whether the output projection has a bias: `o_bias`, or else `bias`."""
        return self.bias if self.o_bias is None else self.o_bias


class Block(nn.Module):
    """Attention, with a memory cross-attention to it, then feed-forward, each normalised and added to the stream.

    Parameters `attention`, `feed_forward`, their norms (see Sublayer), and `cross_attention` and its norm where it is
    initialised with a memory (Vaswani et al. 2017, section 3.2.3)."""

    spec: BlockSpec
    linears: Linears
    kernel: Kernel

    @nn.compact
    def __call__(
        self,
        x_BTD: jax.Array,
        layout: Layout,
        pattern: Pattern,
        cache: LayerCache | None = None,
        train: bool = False,
        bias_H: jax.Array | None = None,
        prefix: KV | None = None,
    ) -> tuple[jax.Array, LayerCache | None]:
        """(B, T, D) -> (B, T, D), and the layer's cache where one was given. `bias_H` float32 (H, ...) is the table of
        a position that biases scores, `prefix` (G, n, K) what the tokens see besides themselves."""
        spec = self.spec
        attention = partial(
            Attention,
            num_heads=spec.num_heads,
            num_kv_heads=spec.kv_heads,
            d_head=spec.head_width,
            linears=self.linears,
            qkv_bias=spec.has_qkv_bias,
            o_bias=spec.has_o_bias,
            kernel=self.kernel,
            qk_norm=spec.qk_norm,
            score_scale=spec.score_scale,
            soft_cap=spec.soft_cap,
            dropout=spec.dropout,
        )
        feed_forward = spec.feed_forward.module(self.linears, "feed_forward")
        dropout = Dropout(spec.dropout)

        def drop(y_BTD: jax.Array) -> jax.Array:
            return dropout(y_BTD, deterministic=not train)

        linears = self.linears
        adapter = Place(linears.below.removesuffix("/"), name="adapter") if linears.adapter else None

        def adapted(part: str, y_BTD: jax.Array) -> jax.Array:
            if adapter is None or linears.adapter is None:
                return y_BTD
            hook = linears.adapter.sublayer
            return adapter(lambda place: Place(f"{place.at}/{part}", name=part)(hook, y_BTD))

        around, read = partial(Sublayer, norm=spec.norm, norm_place=spec.norm_place, drop=drop), spec.residual.read
        itself, across, feed = around("attention"), around("cross_attention"), around("feed_forward")
        past, memory = cache or (None, None)
        start_BTD = x_BTD
        h_BTD = read(itself, x_BTD, start_BTD, None)
        attend = attention(position=spec.position, name=itself.name)
        y_BTD, past = attend(h_BTD, layout, pattern, past, train, bias_H=bias_H, prefix=prefix)
        x_BTD = itself.add(x_BTD, adapted(itself.name, y_BTD))
        if layout.memory is not None:
            h_BTD = read(across, x_BTD, start_BTD, h_BTD)
            attend = attention(position=NoPosition(), name=across.name)
            y_BTD, memory = attend(h_BTD, layout, Bidirectional(), memory, train, layout.memory)
            x_BTD = across.add(x_BTD, adapted(across.name, y_BTD))
        y_BTD = adapted(feed.name, feed_forward(read(feed, x_BTD, start_BTD, h_BTD)))
        return feed.add(x_BTD, y_BTD), None if past is None else LayerCache(past, memory)
