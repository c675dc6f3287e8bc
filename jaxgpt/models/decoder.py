"""The decoder-only Transformer with every choice open. GPT-1, GPT-2 and GPT-3 are values of it.

B batch, T tokens, D model width, V vocabulary.
"""

from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from pydantic import PositiveFloat, PositiveInt, field_validator, model_validator

from jaxgpt.models.model import Model
from jaxgpt.nn.block import Block, BlockSpec
from jaxgpt.nn.cache import KV
from jaxgpt.nn.dropout import Dropout
from jaxgpt.nn.embed import Embed
from jaxgpt.nn.feed_forward import Sparse
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.linear import Linear, Linears
from jaxgpt.nn.stack import Loop, Remat, Stack
from jaxgpt.ops.attention import Case, Kernel, Places, Reference
from jaxgpt.ops.patterns import Causal, Pattern, beyond, is_relative, mean_keys, reach, shares
from jaxgpt.ops.placing import place
from jaxgpt.ops.positions import Added, Biased, Learned, Rotated
from jaxgpt.ops.setting import on


class Decoder(BlockSpec, Model):
    """A stack of causal blocks between an embedding and a softmax over the vocabulary."""

    citation = "Vaswani et al. 2017; Radford et al. 2018, section 3.1"
    inputs = ("dropout", "init_std")
    switches = ("dropout",)
    num_layers: PositiveInt
    pattern: tuple[Pattern, ...] = (Causal(),)
    """Attention patterns, cycled over the layers: `[causal, {kind: banded, window: 256}]` alternates."""
    tied: bool = True
    """Whether the output scores against the token embedding (Press & Wolf 2017)."""
    init_std: PositiveFloat = 0.02
    residual_init: Literal["plain", "depth_scaled"] = "depth_scaled"
    """`depth_scaled` divides the start of projections into the residual stream by √(2·layers) (GPT-2, section 2.3)."""

    @field_validator("pattern", mode="before")
    @classmethod
    def _one_is_a_cycle(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [value]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        problems = []
        if self.d_head is None and self.d_model % self.num_heads:
            problems.append(
                f"d_model {self.d_model} is not a multiple of num_heads {self.num_heads}; change one or set d_head"
            )
        if self.num_heads % self.kv_heads:
            problems.append(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}")
        if isinstance(self.position, Rotated) and self.head_width % 2:
            problems.append(f"rotary positions need an even d_head, got {self.head_width}")
        if not self.pattern:
            problems.append("pattern needs at least one entry, for example causal")
        for i, pattern in enumerate(self.pattern):
            problems += beyond(pattern, self.context, f"pattern.{i}")
            if self.num_heads % len(shares(pattern)):
                problems.append(
                    f"pattern.{i} shares heads between {len(shares(pattern))} patterns; "
                    f"make num_heads {self.num_heads} a multiple of that"
                )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def build(
        self, kernel: Kernel = Reference(), dtype: DTypeLike = "float32", loop: Loop = "unroll", remat: Remat = "none"
    ) -> "DecoderLM":
        """The module; `vocab_size` must be known by now."""
        return DecoderLM(self, kernel, jnp.dtype(dtype), loop, remat)

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters: normal weights, zero biases, unit gains."""
        return self.build(loop="scan").init(key, jnp.zeros((1, 1), jnp.int32))["params"]

    def flops_per_token(self, length: int, dense: bool = True) -> float:
        """6·(parameters that a token meets, less the position table) + 12·layers·heads·d_head·keys.

        Keys are `length`, or what patterns keep.
        """
        table = self.context * self.d_model if isinstance(self.position, Learned) else 0
        keys = sum(length if dense else mean_keys(pattern, length) for pattern in self.layer_patterns)
        return 6 * (self.count() - self.idle - table) + 12 * self.num_heads * self.head_width * keys

    def cache(self, rows: int, slots: int, dtype: DTypeLike = "float32") -> tuple[KV, ...]:
        """Empty caches for `rows` sequences of up to `slots` tokens, one a layer, as long as its pattern reaches."""
        held = [reach(pattern, slots) for pattern in self.layer_patterns]
        zeros = {R: jnp.zeros((rows, self.kv_heads, R, self.head_width), dtype) for R in set(held)}
        return tuple(KV(zeros[R], zeros[R]) for R in held)

    def cases(self, length: int, dtype: str, places: Places, segments: bool, platform: str) -> dict[str, Case]:
        """What the layers ask of a kernel in training, by a name for each: distinct patterns once."""
        cases = {}
        for i, pattern in enumerate(self.pattern[: self.num_layers]):
            parts = shares(pattern)
            for j, part in enumerate(parts):
                name = f"pattern.{i}" + (f".of.{j}" if len(parts) > 1 else "")
                cases[name] = Case(
                    pattern=part,
                    queries=length,
                    keys=length,
                    d_head=self.head_width,
                    dtype=dtype,
                    platform=platform,
                    places=places,
                    segments=segments,
                    bias=isinstance(self.position, Biased),
                    soft_cap=self.soft_cap is not None,
                    dropout=on(self.dropout),
                )
        return cases

    @property
    def idle(self) -> int:
        """Parameters that a token does not meet: those of the experts that it is not sent to."""
        if not isinstance(self.feed_forward, Sparse):
            return 0
        experts = self.shapes()["blocks"]["layers"]["feed_forward"]["experts"]
        return round((1 - self.feed_forward.share) * sum(leaf.size for leaf in jax.tree.leaves(experts)))

    @property
    def layer_patterns(self) -> tuple[Pattern, ...]:
        """Each layer's pattern."""
        return tuple(self.pattern[i % len(self.pattern)] for i in range(self.num_layers))

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
        """Names the children: embed, blocks, norm_f (pre-norm only), head (untied only)."""
        spec = self.spec
        if spec.vocab_size is None:
            raise ValueError("model.vocab_size is not set")
        scale = (2 * spec.num_layers) ** -0.5 if spec.residual_init == "depth_scaled" else 1.0
        linears = Linears(self.dtype, spec.init_std, spec.init_std * scale, spec.bias)
        self.embed = Embed(
            spec.vocab_size, spec.d_model, spec.num_heads, spec.context, spec.position, spec.init_std, self.dtype
        )
        block = Block(spec, linears, self.kernel, parent=None)
        self.blocks = Stack(block, spec.num_layers, spec.pattern, self.loop, self.remat)
        self.norm_f = spec.norm.module("norm_f") if spec.norm_place == "pre" else None
        self.head = None if spec.tied else Linear(spec.vocab_size, self.dtype, spec.init_std, bias=False)
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
        places: Places = "row" if positions is None else "documents" if segments is not None else "any"
        pos = jnp.arange(tokens_BT.shape[1], dtype=jnp.int32) if positions is None else positions
        return self._run(tokens_BT, Layout(pos, segments, places), None, train)[0]

    def extend(self, tokens_BT: jax.Array, layout: Layout, cache: tuple[KV, ...]) -> tuple[jax.Array, tuple[KV, ...]]:
        """Continues cached sequences by T tokens: hidden states (B, T, D) and the grown caches."""
        return self._run(tokens_BT, layout, cache, False)

    def unembed(self, hidden: jax.Array) -> jax.Array:
        """(..., D) -> logits (..., V)."""
        return place(self.embed.attend(hidden) if self.head is None else self.head(hidden), "logits")

    def _run(
        self, tokens_BT: jax.Array, layout: Layout, cache: tuple[KV, ...] | None, train: bool
    ) -> tuple[jax.Array, Any]:
        x_BTD = self.drop(place(self.embed(tokens_BT, layout), "residual"), deterministic=not train)
        x_BTD, cache = self.blocks(x_BTD, layout._replace(bias_table=self.embed.bias_table), cache, train)
        return place(x_BTD if self.norm_f is None else self.norm_f(x_BTD), "sublayer"), cache
