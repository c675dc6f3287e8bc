"""What every stack of blocks is, decoder or encoder: its fields, what fits together, what it costs."""

from abc import abstractmethod
from typing import Any, Literal, Self

import jax
from jax.typing import DTypeLike
from pydantic import PositiveFloat, field_validator, model_validator

from jaxgpt.models.model import Model
from jaxgpt.nn.block import Block, BlockSpec
from jaxgpt.nn.feed_forward import Sparse
from jaxgpt.nn.head import Head
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.norm import Norm
from jaxgpt.nn.stack import Loop, Remat, Stack
from jaxgpt.ops.attention import Case, Kernel, Places
from jaxgpt.ops.patterns import Pattern, beyond, mean_keys, shares
from jaxgpt.ops.positions import Added, Biased, Learned, Rotated
from jaxgpt.ops.setting import on
from jaxgpt.spec.sizes import Layers

MOST_PARAMETERS = 10**14
"""Fifty times what was ever trained; their state has more than a petabyte."""
MOST_IN_TABLE = 2**27
"""Numbers of a table that is part of the compiled program."""


class Transformer(BlockSpec, Model):
    """A stack of equal blocks above an embedding."""

    inputs = ("dropout", "init_std")
    switches = ("dropout",)
    num_layers: Layers
    pattern: tuple[Pattern, ...]
    """Attention patterns, cycled over the layers: `[causal, {kind: banded, window: 256}]` alternates."""
    embed_norm: Norm | None = None
    """Normalises the sum of the embeddings, before dropout (BERT, BLOOM)."""
    init_std: PositiveFloat = 0.02
    residual_init: Literal["plain", "depth_scaled"] = "depth_scaled"
    """`depth_scaled` divides the start of projections into the residual stream by √(2·layers) (GPT-2, section 2.3)."""

    head: Head | None = None
    """What the model says of a text as a whole, beside what it says of its tokens: `{kind: contrastive, ...}`."""

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
        if self.residual != "sequential" and self.norm_place != "pre":
            problems.append(
                f"residual {self.residual} is pre-norm; set norm_place pre instead of {self.norm_place}, or sequential"
            )
        if isinstance(self.position, Added) and self.context * self.d_model > MOST_IN_TABLE:
            problems.append(
                f"position {self.position.kind} is a table of context {self.context} x d_model {self.d_model}: "
                f"more than {MOST_IN_TABLE} numbers; use another, such as rotary"
            )
        if self.least_parameters > MOST_PARAMETERS:
            problems.append(
                f"num_layers {self.num_layers}, d_model {self.d_model}, num_heads {self.num_heads}, context "
                f"{self.context}: more than {MOST_PARAMETERS:.0e} parameters; lower one"
            )
        if not self.pattern:
            problems.append("pattern needs at least one entry, for example causal")
        for i, pattern in enumerate(self.pattern):
            problems += beyond(pattern, self.context, f"pattern.{i}")
            if self.num_heads % len(shares(pattern)):
                problems.append(
                    f"pattern.{i} shares heads between {len(shares(pattern))} patterns; "
                    f"make num_heads {self.num_heads} a multiple of that"
                )
        problems += [] if self.head is None else self.head.problems()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def flops_per_token(self, length: int, dense: bool = True, scored: float = 1.0) -> float:
        """6·(parameters that a token meets, less those looked up) + 12·layers·heads·d_head·keys.

        Keys are `length`, or what patterns keep. Those that score against the vocabulary meet a share `scored`.
        """
        keys = sum(length if dense else mean_keys(pattern, length) for pattern in self.layer_patterns)
        met = self.count() - self.idle - self.looked_up - (1 - scored) * self.scoring
        return 6 * met + 12 * self.num_heads * self.head_width * keys

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

    def linears(self, dtype: DTypeLike) -> Linears:
        """How the blocks' projections are made."""
        scale = (2 * self.num_layers) ** -0.5 if self.residual_init == "depth_scaled" else 1.0
        return Linears(dtype, self.init_std, self.init_std * scale, self.bias)

    def stack(self, kernel: Kernel, dtype: DTypeLike, loop: Loop, remat: Remat) -> Stack:
        """The blocks, a child of the module that calls."""
        block = Block(self, self.linears(dtype), kernel, parent=None)
        return Stack(block, self.num_layers, self.pattern, loop, remat)

    @property
    @abstractmethod
    def looked_up(self) -> int:
        """Parameters that no token is multiplied with: tables of which rows are taken."""

    @property
    @abstractmethod
    def scores_by_table(self) -> bool:
        """Whether the token table scores hidden states too."""

    @property
    def least_parameters(self) -> int:
        """Parameters that there are in any case, found without tracing: attention's, the experts' and the tables'."""
        D, K = self.d_model, self.head_width
        experts = self.feed_forward.num_experts if isinstance(self.feed_forward, Sparse) else 0
        layer = D * (2 * K * (self.num_heads + self.kv_heads) + 2 * experts)
        return self.num_layers * layer + D * (self.vocab_size or 0) + self.position_table

    @property
    def scoring(self) -> int:
        """Parameters by which a token gets its logits."""
        shapes = self.shapes()
        table = shapes["embed"]["token"].size if self.scores_by_table else 0
        return table + sum(leaf.size for leaf in jax.tree.leaves(shapes.get("head", {})))

    @property
    def position_table(self) -> int:
        """Parameters of learned positions."""
        return (self.context + self.position.offset) * self.d_model if isinstance(self.position, Learned) else 0

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
