"""What decoders and encoders have in common: one trunk, the heads on it, and what they cost.

B batch, T tokens, D model width, V vocabulary.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jax.typing import DTypeLike
from pydantic import model_validator

from jaxgpt.models.model import Model
from jaxgpt.nn.feed_forward import Sparse
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.stack import Loop, Remat
from jaxgpt.nn.trunk import Trunk, TrunkSpec
from jaxgpt.ops.attention import Kernel

MOST_PARAMETERS = 10**14
"""Fifty times what was ever trained; their state has more than a petabyte."""


class Transformer(TrunkSpec, Model):
    """A model of one trunk."""

    formerly: ClassVar[Mapping[str, str]] = {"head": "text_head"}

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        problems = [] if self.text_head is None else self.text_head.problems()
        if self.least_parameters + self.d_model * (self.vocab_size or 0) > MOST_PARAMETERS:
            problems.append(
                f"num_layers {self.num_layers}, d_model {self.d_model}, num_heads {self.num_heads}, context "
                f"{self.context}: more than {MOST_PARAMETERS:.0e} parameters; lower one"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters: normal weights, zero biases, unit gains."""
        first = self.model_copy(
            update={"pattern": self.pattern[:1]}
        )  # a cycle takes time, and parameters depend on none
        module = first.build(loop="scan")
        return module.init(key, jnp.zeros((1, 1), jnp.int32), method="init_all_heads")["params"]

    def trunk(self, kernel: Kernel, dtype: DTypeLike, loop: Loop, remat: Remat, **embedded: Any) -> Trunk:
        """The trunk's module, with `embedded` what is its embedding's own."""
        if self.vocab_size is None:
            raise ValueError("model.vocab_size is not set")
        return Trunk(self, kernel, dtype, loop, remat, self.vocab_size, **embedded)

    def flops_per_token(self, length: int, dense: bool = True, scored: float = 1.0) -> float:
        """6·(parameters that a token meets, less those looked up) + 12·layers·heads·d_head·keys.

        Keys are `length`, or what patterns keep. Those that score against the vocabulary meet a share `scored`.
        """
        met = self.count() - self.idle - self.looked_up - (1 - scored) * self.scoring
        return 6 * met + self.attention_flops(length, dense)

    @property
    @abstractmethod
    def looked_up(self) -> int:
        """Parameters that are only looked up, not multiplied with: embedding tables."""

    @property
    @abstractmethod
    def scores_by_table(self) -> bool:
        """Whether the token table scores hidden states too."""

    @property
    def scoring(self) -> int:
        """Parameters by which a token gets its logits."""
        shapes = self.shapes()
        table = shapes["embed"]["token"].size if self.scores_by_table else 0
        return table + sum(leaf.size for leaf in jax.tree.leaves(shapes.get("lm_head", {})))

    @property
    def idle(self) -> int:
        """Parameters that a token does not meet: those of the experts that it is not sent to."""
        if not isinstance(self.feed_forward, Sparse):
            return 0
        leaves = flatten_dict(self.shapes()).items()
        return round((1 - self.feed_forward.share) * sum(leaf.size for path, leaf in leaves if "experts" in path))

    @property
    def depth(self) -> int:
        """The number of layers."""
        return self.num_layers

    @property
    def width(self) -> int:
        """Channels of the residual stream."""
        return self.d_model

    @property
    def heads(self) -> int:
        """Query heads of a layer."""
        return self.num_heads

    @property
    def period(self) -> int:
        """After how many layers the attention patterns repeat."""
        return len(self.pattern)


class TransformerModule(nn.Module):
    """Base of the modules of one trunk: `trunk`, whose parameters lie among the model's own, and `text_head`
    or None. `setup` names them."""

    spec: Transformer
    kernel: Kernel
    dtype: DTypeLike
    loop: Loop
    remat: Remat

    def hidden(
        self,
        tokens_BT: jax.Array,
        positions: jax.Array | None = None,
        segments: jax.Array | None = None,
        train: bool = False,
        token_types: jax.Array | None = None,
    ) -> jax.Array:
        """int (B, T) -> final hidden states (B, T, D).

        `segments` (B, T) tells packed documents from one another, and padding (0) from a row's tokens; `positions`
        (B, T) count from 0 in each, as the row's indices do where not given; `token_types` (B, T) are 0 by default.
        """
        return self.trunk(tokens_BT, Layout.of_rows(tokens_BT, positions, segments), train, token_types)

    def states(
        self, tokens_BT: jax.Array, segments: jax.Array | None = None, train: bool = False, every: bool = True
    ) -> list[jax.Array]:
        """The outputs (B, T, D) of all layers, or of the last alone; the last is as `hidden` gives it."""
        layout = Layout.of_rows(tokens_BT, None, segments)
        return self.trunk.states(tokens_BT, layout, train) if every else [self.trunk(tokens_BT, layout, train)]

    def represent(self, tokens_BT: jax.Array, segments: jax.Array | None = None, train: bool = False) -> jax.Array:
        """int (B, T) -> float32 (B, ...): what `text_head` makes of each row's tokens, those with a segment above 0."""
        if self.text_head is None or self.spec.text_head is None:
            raise ValueError("model.text_head is not set: the model makes no vector of a text")
        real_BT = jnp.ones_like(tokens_BT, bool) if segments is None else segments > 0
        states = self.states(tokens_BT, segments, train, self.spec.text_head.layered)
        return self.text_head(states, real_BT, train)
