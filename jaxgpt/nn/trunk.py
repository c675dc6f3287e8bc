"""The trunk: tokens in, hidden states out. A decoder and an encoder have one, an encoder-decoder has two.

B batch, T tokens, D model width, V vocabulary.
"""

from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from pydantic import PositiveFloat, field_validator, model_validator

from jaxgpt.nn.adapter import Adapter
from jaxgpt.nn.block import Block, BlockSpec
from jaxgpt.nn.cache import KV, Cache, LayerCache
from jaxgpt.nn.dropout import Dropout
from jaxgpt.nn.embed import Embed
from jaxgpt.nn.feed_forward import Sparse
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.norm import Norm
from jaxgpt.nn.remat import Remat
from jaxgpt.nn.stack import Loop, Stack
from jaxgpt.ops.attention import Case, Kernel, Numbering
from jaxgpt.ops.patterns import Pattern, beyond, mean_keys, reach, with_first
from jaxgpt.ops.positions import Added, Biased, PositionEmbedding, Rotated
from jaxgpt.ops.sharding import constrain
from jaxgpt.spec.inputs import enabled
from jaxgpt.spec.sizes import Layers, Length

MOST_IN_TABLE = 2**27
"""Numbers of a table that is part of the compiled program."""
ResidualInit = Literal["plain", "depth_scaled"]


class TrunkSpec(BlockSpec):
    """An embedding, a stack of equal blocks and, where norm_place asks for one, a final norm."""

    inputs = ("dropout", "init_std")
    switches = ("dropout",)
    context: Length
    """The longest sequence, in tokens."""
    num_layers: Layers
    pattern: tuple[Pattern, ...]
    """Attention patterns, cycled over the layers: `[causal, {kind: banded, window: 256}]` alternates."""
    embed_norm: Norm | None = None
    """Normalises the sum of the embeddings, before dropout (BERT, BLOOM)."""
    init_std: PositiveFloat = 0.02
    residual_init: ResidualInit = "depth_scaled"
    """`depth_scaled` divides the start of projections into the residual stream by √(2·layers) (GPT-2, section 2.3)."""
    adapter: Adapter | None = None
    """What is trained in place of the model's own weights: `{kind: lora, rank: 8}`."""

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
        if isinstance(self.position, Rotated):
            width = self.position.width
            if width is not None and (width % 2 or width > self.head_width):
                problems.append(f"position.width {width} must be even and at most d_head {self.head_width}")
            if width is None and self.head_width % 2:
                problems.append(f"rotary positions need an even d_head, got {self.head_width}")
        if self.residual.parallel and not self.norm_place.parallel:
            problems.append(
                f"residual {self.residual.kind} is pre-norm; set norm_place pre instead of {self.norm_place.kind}, or "
                "sequential"
            )
        if isinstance(self.position, Added) and self.context * self.d_model > MOST_IN_TABLE:
            problems.append(
                f"position {self.position.kind} is a table of context {self.context} x d_model {self.d_model}: "
                f"more than {MOST_IN_TABLE} numbers; use another, such as rotary"
            )
        if self.virtual_tokens >= self.context:
            problems.append(
                f"adapter.tokens {self.virtual_tokens} leave no position of context {self.context} to a text; use fewer"
            )
        if not self.pattern:
            problems.append("pattern needs at least one entry, for example causal")
        for i, pattern in enumerate(self.pattern):
            problems += beyond(pattern, self.context, f"pattern.{i}")
            if self.num_heads % len(pattern.shares):
                problems.append(
                    f"pattern.{i} shares heads between {len(pattern.shares)} patterns; "
                    f"make num_heads {self.num_heads} a multiple of that"
                )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def attention_flops(self, length: int, dense: bool) -> float:
        """Of a token, forward and backward, in products of queries and keys and of weights and values. `dense`: as if
        every token saw `length` keys; else as many as the patterns keep. Those of an adapter's tokens are theirs who
        see them, and what embedded ones compute is shared out over the row's."""
        row = length + self.embedded_tokens
        keys = sum(row if dense else mean_keys(pattern, row) for pattern in self.layer_patterns)
        beside = self.num_layers * (self.virtual_tokens - self.embedded_tokens)
        return 12 * self.num_heads * self.head_width * (keys * row / length + beside)

    def named_patterns(self) -> dict[str, Pattern]:
        """The patterns that layers have; of one that shares out heads, those of the shares (`pattern.0.of.1`)."""
        named: dict[str, Pattern] = {}
        for i, pattern in enumerate(self.pattern[: self.num_layers]):
            parts = pattern.shares
            named |= {f"pattern.{i}" + (f".of.{j}" if len(parts) > 1 else ""): part for j, part in enumerate(parts)}
        return named

    def cases(
        self, length: int, dtype: str, platform: str, numbering: Numbering, segments: bool, token_parts: int = 1
    ) -> dict[str, Case]:
        """What the layers ask of a kernel in training on rows of `length`, for each of `named_patterns`."""
        length, beside = length + self.virtual_tokens, self.virtual_tokens - self.embedded_tokens
        return {
            name: Case(
                with_first(pattern, beside) if beside else pattern,
                queries=length,
                keys=length,
                d_head=self.head_width,
                dtype=dtype,
                platform=platform,
                numbering=numbering,
                segments=segments,
                bias=isinstance(self.position, Biased),
                soft_cap=self.soft_cap is not None,
                dropout=enabled(self.dropout),
                token_parts=token_parts,
            )
            for name, pattern in self.named_patterns().items()
        }

    def cache(self, rows: int, slots: int, dtype: DTypeLike = "float32") -> Cache:
        """Empty caches for `rows` sequences of up to `slots` tokens, one a layer, as long as its pattern reaches, and
        slots for a prefix in front."""
        beside = self.virtual_tokens - self.embedded_tokens
        lengths = [beside + reach(pattern, slots) for pattern in self.layer_patterns]
        zeros = {R: jnp.zeros((rows, self.kv_heads, R, self.head_width), dtype) for R in set(lengths)}
        return tuple(LayerCache(KV(zeros[R], zeros[R])) for R in lengths)

    def linears(self, dtype: DTypeLike) -> Linears:
        """How the projections of blocks and heads are made."""
        scale = (2 * self.num_layers) ** -0.5 if self.residual_init == "depth_scaled" else 1.0
        return Linears(dtype, self.init_std, self.init_std * scale, self.bias, self.adapter)

    @property
    def virtual_tokens(self) -> int:
        """Tokens of the adapter in front of every row, which take its first positions."""
        return 0 if self.adapter is None else self.adapter.virtual_tokens

    @property
    def embedded_tokens(self) -> int:
        """How many of them go through the model as a row's first tokens."""
        return 0 if self.adapter is None else self.adapter.embedded_tokens

    @property
    def position_table(self) -> int:
        """How many parameters a table of position embeddings has; 0 without one."""
        position = self.position
        return (position.first_row + self.context) * self.d_model if isinstance(position, PositionEmbedding) else 0

    @property
    def least_parameters(self) -> int:
        """Parameters that there are in any case, known untraced: attention's, the experts', the positions'."""
        D, K = self.d_model, self.head_width
        experts = self.feed_forward.num_experts if isinstance(self.feed_forward, Sparse) else 0
        return self.num_layers * D * (2 * K * (self.num_heads + self.kv_heads) + 2 * experts) + self.position_table

    @property
    def layer_patterns(self) -> tuple[Pattern, ...]:
        """The attention pattern of each layer, from the first on."""
        return tuple(self.pattern[i % len(self.pattern)] for i in range(self.num_layers))


class Trunk(nn.Module):
    """Embedding, blocks and final norm. Parameters `embed`, `norm_embed` (where the spec has one), `blocks`,
    `norm_final` (where norm_place asks for one)."""

    spec: TrunkSpec
    kernel: Kernel
    dtype: DTypeLike
    loop: Loop
    remat: Remat
    vocab_size: int
    token_types: int = 0
    """Segments that a token may belong to, each with an embedding."""
    embed_scale: float | None = None
    """What token embeddings are multiplied by."""
    tokens_of: Embed | None = None
    """The embedding of another trunk, whose token table it shares; None: it has its own."""

    def setup(self) -> None:
        """Names the children `embed`, `norm_embed`, `blocks` and `norm_final`."""
        spec = self.spec
        self.embed = Embed(
            self.vocab_size,
            spec.d_model,
            spec.context,
            spec.position,
            spec.init_std,
            self.dtype,
            token_types=self.token_types,
            scale=self.embed_scale,
            tokens_of=self.tokens_of,
            added=spec.adapter,
        )
        self.norm_embed = None if spec.embed_norm is None else spec.embed_norm.module("norm_embed")
        linears = spec.linears(self.dtype).within(*self.path, "blocks", "layers")
        block = Block(spec, linears, self.kernel, parent=None)
        self.blocks = Stack(block, spec.num_layers, spec.pattern, self.loop, self.remat, spec.adapter)
        self.norm_final = spec.norm.module("norm_final") if spec.norm_place.final_norm else None
        self.drop = Dropout(spec.dropout)

    def __call__(
        self, tokens_BT: jax.Array, layout: Layout, train: bool = False, token_types: jax.Array | None = None
    ) -> jax.Array:
        """int (B, T) -> final hidden states (B, T, D). `token_types` int (B, T): 0 everywhere where not given."""
        x_BTD, _ = self._run(tokens_BT, layout, None, train, token_types)
        return self._normed(x_BTD[:, -tokens_BT.shape[1] :])

    def states(
        self, tokens_BT: jax.Array, layout: Layout, train: bool = False, token_types: jax.Array | None = None
    ) -> list[jax.Array]:
        """The outputs (B, T, D) of all layers; the last is as the call gives it."""
        x_LBTD, _ = self._run(tokens_BT, layout, None, train, token_types, every=True)
        x_LBTD = x_LBTD[:, :, -tokens_BT.shape[1] :]
        return [*x_LBTD[:-1], self._normed(x_LBTD[-1])]

    def extend(self, tokens_BT: jax.Array, layout: Layout, cache: Cache) -> tuple[jax.Array, Cache]:
        """Continues cached sequences by T tokens: hidden states (B, T, D) and the grown caches. An adapter's embedded
        tokens are among those given, as ids from the vocabulary's size on."""
        x_BTD, grown = self._run(tokens_BT, layout, cache, False)
        return self._normed(x_BTD), grown

    def _led(
        self, tokens_BT: jax.Array, layout: Layout, token_types: jax.Array | None
    ) -> tuple[jax.Array, Layout, jax.Array | None]:
        """The tokens, their layout and types with the adapter's embedded tokens in front, whose types are 0."""
        n = self.spec.embedded_tokens
        ids_n = self.vocab_size + jnp.arange(n, dtype=tokens_BT.dtype)
        tokens = jnp.concatenate([jnp.broadcast_to(ids_n, (len(tokens_BT), n)), tokens_BT], 1)
        types = None if token_types is None else jnp.pad(token_types, ((0, 0), (n, 0)))
        return tokens, layout.behind(n).with_virtual(), types

    def _normed(self, x_BTD: jax.Array) -> jax.Array:
        return constrain(x_BTD if self.norm_final is None else self.norm_final(x_BTD), "sublayer")

    def _run(
        self,
        tokens_BT: jax.Array,
        layout: Layout,
        cache: Cache | None,
        train: bool,
        token_types: jax.Array | None = None,
        every: bool = False,
    ) -> tuple[jax.Array, Any]:
        if self.spec.embedded_tokens and cache is None:
            tokens_BT, layout, token_types = self._led(tokens_BT, layout, token_types)
        elif not self.spec.embedded_tokens:
            layout = layout.behind(self.spec.virtual_tokens)
        x_BTD = constrain(self.embed(tokens_BT, layout, token_types), "residual")
        x_BTD = self.drop(x_BTD if self.norm_embed is None else self.norm_embed(x_BTD), deterministic=not train)
        return self.blocks(x_BTD, layout, cache, train, every)
