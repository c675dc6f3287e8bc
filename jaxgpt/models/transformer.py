"""What decoders and encoders have in common: one trunk, the heads on it, and what they cost.

B batch, T tokens, D model width, V vocabulary.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jax.typing import DTypeLike
from pydantic import model_validator

from jaxgpt.models.model import Model, Trained, all_trained
from jaxgpt.models.text_module import TextModule
from jaxgpt.nn.adapter import Adapter
from jaxgpt.nn.feed_forward import Sparse
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.remat import Remat
from jaxgpt.nn.stack import Loop
from jaxgpt.nn.trunk import Trunk, TrunkSpec
from jaxgpt.ops.attention import Kernel
from jaxgpt.spec import ConfigError

MOST_PARAMETERS = 10**14
"""Fifty times what was ever trained; their state has more than a petabyte."""
EMBEDDINGS, LAYERS, HEADS, SCORES = range(4)
"""Parts of a model, from the bottom up: gradients of their inputs are computed above the lowest that is trained."""
NOT_MET = ("embed/", "pooler/", "next_sentence/", "text_head/")
"""Tables of which rows are looked up, and what meets a row once, not each of its tokens."""


class Transformer(TrunkSpec, Model):
    """A model of one trunk: the fields of the trunk are its own."""

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
        """Fresh parameters: normal weights, zero biases, unit gains; the adapter's as it starts them.

        Raises ConfigError for an adapter of which something fits no part of the model.
        """
        first = self.model_copy(
            update={"pattern": self.pattern[:1]}
        )  # a cycle takes time, and parameters depend on none
        module = first.build(loop="scan")
        params: dict[str, Any] = module.init(key, jnp.zeros((1, 1), jnp.int32), method="init_all_heads")["params"]
        if self.adapter is not None and (problems := self.adapter.problems(flatten_dict(params, sep="/"))):
            raise ConfigError([f"model.adapter.{problem}" for problem in problems])
        return params

    def trunk(self, kernel: Kernel, dtype: DTypeLike, loop: Loop, remat: Remat, **embedded: Any) -> Trunk:
        """The trunk's module, with `embedded` what is its embedding's own."""
        if self.vocab_size is None:
            raise ValueError("model.vocab_size is not set")
        return Trunk(self, kernel, dtype, loop, remat, self.vocab_size, **embedded)

    def flops_per_token(
        self, length: int, dense: bool = True, scored: float = 1.0, trained: Trained = all_trained
    ) -> float:
        """6·(parameters that a token meets, less those looked up) + 12·layers·heads·d_head·keys, where all are trained.

        Of the 6, the forward pass takes 2, the gradient of the parameter 2 where it is trained, and the gradient of its
        input 2 where anything below it is trained; of the 12, forward 4 and backward 8. The layers are one part, as in
        a loop over them: with anything in them or below them trained, the backward pass goes through all. (Unrolled,
        jax leaves out the lowest layer's part below what is trained in it.) Keys are `length`, or what patterns keep.
        Parameters that score against the vocabulary meet a share `scored`. What an adapter's virtual tokens cost is
        shared out over the tokens of a row; the MLP of a prefix, once a step, is left out.
        """
        met, scoring, total = self.met(scored), self.scoring, 0.0
        row = length + self.embedded_tokens
        lowest = min((_part(path) for path in met if trained(path)), default=SCORES)
        for path, numbers in met.items():
            part = SCORES if path in scoring else _part(path)
            passes = numbers * (row / length if part == LAYERS else 1)
            total += passes * (2 + 2 * trained(path) + 2 * (lowest < part or part == lowest == LAYERS))
        return total + self.attention_flops(length, dense) * (1 if lowest <= LAYERS else 1 / 3)

    def met(self, scored: float = 1.0) -> dict[str, float]:
        """How many numbers of each parameter a token is multiplied with, by path: none of tables that are only looked
        up and of what meets a row once, a share of the experts, all of the rest."""
        met, scoring, virtual = dict[str, float](), self.scoring, self.virtual_tokens > 0
        for path, leaf in flatten_dict(self.shapes(), sep="/").items():
            if path in scoring:
                met[path] = scored * leaf.size
            else:
                looked_up = path.startswith(NOT_MET) or (virtual and "adapter" in path.split("/"))
                looked_up &= path != "embed/adapter/b"  # of a low-rank change of the table: a product
                met[path] = 0 if looked_up else leaf.size - self._idle(path, leaf.size)
        return met

    @property
    @abstractmethod
    def scores_by_table(self) -> bool:
        """Whether the token table scores hidden states too."""

    @property
    def scoring(self) -> set[str]:
        """Paths of the parameters by which a token gets its logits."""
        paths = flatten_dict(self.shapes(), sep="/")
        table = {"embed/token"} if self.scores_by_table else set()
        return table | {path for path in paths if path.startswith("lm_head/")}

    @property
    def idle(self) -> int:
        """Parameters that a token does not meet: those of the experts that it is not sent to."""
        return sum(self._idle(path, leaf.size) for path, leaf in flatten_dict(self.shapes(), sep="/").items())

    def _idle(self, path: str, size: int) -> int:
        layer = self.feed_forward
        return round((1 - layer.share) * size) if isinstance(layer, Sparse) and "/experts/" in path else 0

    @property
    def adaptation(self) -> Adapter | None:
        """Its `adapter`."""
        return self.adapter

    def finished(self, params: Any) -> tuple[Model, Any]:
        """The model with its adapter as that leaves it for use."""
        if self.adapter is None:
            return self, params
        adapter, params = self.adapter.finished(params)
        return (self if adapter is self.adapter else self.evolve(adapter=adapter)), params

    @property
    def depth(self) -> int:
        """Layers one above another: `num_layers`."""
        return self.num_layers

    @property
    def width(self) -> int:
        """Channels of the residual stream: `d_model`."""
        return self.d_model

    @property
    def heads(self) -> int:
        """Query heads of a layer: `num_heads`."""
        return self.num_heads

    @property
    def period(self) -> int:
        """After how many layers the attention patterns repeat."""
        return len(self.pattern)


def _part(path: str) -> int:
    """Of a parameter, where it first comes in."""
    top = path.split("/")[0]
    return {"embed": EMBEDDINGS, "norm_embed": LAYERS, "blocks": LAYERS, "lm_head": SCORES}.get(top, HEADS)


class TransformerModule(TextModule):
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

    def branches(self, tokens_BT: jax.Array, positions: jax.Array, segments: jax.Array) -> jax.Array:
        """int (B, T) -> final hidden states (B, T, D) of texts that begin alike, what they share being read once; see
        `Layout.branching`."""
        return self.trunk(tokens_BT, Layout.branching(positions, segments))

    def states(
        self,
        tokens_BT: jax.Array,
        segments: jax.Array | None = None,
        train: bool = False,
        every: bool = True,
        token_types: jax.Array | None = None,
    ) -> list[jax.Array]:
        """The outputs (B, T, D) of all layers, or of the last alone; the last is as `hidden` gives it."""
        layout = Layout.of_rows(tokens_BT, None, segments)
        if every:
            return self.trunk.states(tokens_BT, layout, train, token_types)
        return [self.trunk(tokens_BT, layout, train, token_types)]
