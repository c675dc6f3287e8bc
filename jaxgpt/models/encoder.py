"""The bidirectional Transformer with every choice open. BERT and RoBERTa are values of it.

B batch, T tokens, D model width, V vocabulary.
"""

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from pydantic import model_validator

from jaxgpt.models.transformer import Transformer, TransformerModule
from jaxgpt.nn.feed_forward import MLP, FeedForward
from jaxgpt.nn.head import MaskedHead, Pooler
from jaxgpt.nn.norm import LayerNorm, Norm
from jaxgpt.nn.norm_place import NormPlace, PostNorm
from jaxgpt.nn.remat import Remat
from jaxgpt.nn.stack import Loop
from jaxgpt.nn.trunk import ResidualInit
from jaxgpt.ops.activations import GELU, Activation
from jaxgpt.ops.attention import Kernel, Reference
from jaxgpt.ops.patterns import Bidirectional, Pattern
from jaxgpt.ops.pooling import cls
from jaxgpt.ops.sharding import constrain
from jaxgpt.spec.sizes import Index, Length


class Encoder(Transformer):
    """A stack of blocks in which every token sees every other, with the heads that BERT is pre-trained with."""

    citation = "Devlin et al. 2019, section 3"
    context: Length = 512
    pattern: tuple[Pattern, ...] = (Bidirectional(),)
    norm: Norm = LayerNorm(eps=1e-12)
    norm_place: NormPlace = PostNorm()
    feed_forward: FeedForward = MLP(activation=GELU())
    embed_norm: Norm | None = LayerNorm(eps=1e-12)
    residual_init: ResidualInit = "plain"
    token_types: Index = 2
    """Segments that a token may belong to, each with an embedding (sentence A or B); 0: none."""
    pooler: bool = True
    """Whether a dense layer with tanh summarises a row by its first token."""
    next_sentence: bool = False
    """Whether two logits on the pooler's summary tell if a row's second segment follows its first."""
    masked_head: bool = True
    """Whether hidden states are scored against the vocabulary; without it the model ends with them."""
    head_activation: Activation = GELU()
    """Of the masked head."""

    @model_validator(mode="after")
    def _summed_up(self) -> Self:
        if self.next_sentence and not self.pooler:
            raise ValueError("next_sentence judges the pooler's summary; set pooler true")
        return self

    def build(
        self, kernel: Kernel = Reference(), dtype: DTypeLike = "float32", loop: Loop = "unroll", remat: Remat = "none"
    ) -> "EncoderModel":
        """The module; `vocab_size` must be known by now."""
        return EncoderModel(self, kernel, jnp.dtype(dtype), loop, remat)

    @property
    def fills_in(self) -> bool:
        """Whether it has a masked head, which scores hidden tokens against the vocabulary."""
        return self.masked_head

    @property
    def judges_pairs(self) -> bool:
        """Whether it has the next-sentence head, and an embedding for each of two segments."""
        return self.next_sentence and self.token_types >= 2

    @property
    def scores_by_table(self) -> bool:
        """Whether there is a masked head, which ends with the token table."""
        return self.masked_head


class Outputs(NamedTuple):
    """What an encoder computes of a batch: hidden states and the output of each head."""

    hidden: jax.Array
    """(B, T, D), the last layer's."""
    pooled: jax.Array | None
    """(B, D); None without a pooler."""
    logits: jax.Array | None
    """(B, T, V); None without a masked head."""
    follows: jax.Array | None
    """(B, 2), next sentence or not; None without that head."""


class EncoderModel(TransformerModule):
    """The assembled encoder. `apply({"params": p}, tokens)` gives the masked head's logits, or hidden states without
    one. Segments mark padding: a token sees those of its own segment only, so padding gets segment 0."""

    spec: Encoder

    def setup(self) -> None:
        """Names the children: those of the trunk, pooler, next_sentence, lm_head (the masked one), text_head."""
        spec = self.spec
        self.trunk = spec.trunk(self.kernel, self.dtype, self.loop, self.remat, token_types=spec.token_types)
        nn.share_scope(self, self.trunk)
        linears = spec.linears(self.dtype)
        self.pooler = Pooler(linears) if spec.pooler else None
        self.next_sentence = linears(2, "next_sentence", bias=True) if spec.next_sentence else None
        self.lm_head = None
        if spec.masked_head:
            self.lm_head = MaskedHead(spec.vocab_size, linears, spec.head_activation, spec.norm)
        self.text_head = spec.text_head and spec.text_head.module(linears)

    def __call__(
        self,
        tokens_BT: jax.Array,
        positions: jax.Array | None = None,
        segments: jax.Array | None = None,
        train: bool = False,
        token_types: jax.Array | None = None,
    ) -> jax.Array:
        """int (B, T) -> logits (B, T, V), or (B, T, D) without a masked head, in the compute dtype. See `hidden`."""
        hidden_BTD = self.hidden(tokens_BT, positions, segments, train, token_types)
        return hidden_BTD if self.lm_head is None else self.unembed(hidden_BTD)

    def unembed(self, hidden: jax.Array, columns: int | None = None) -> jax.Array:
        """(..., D) -> the masked head's logits (..., V), or (..., columns), where those beyond V belong to no token."""
        if self.lm_head is None:
            raise ValueError("model.masked_head is off: the model has no logits")
        return constrain(self.lm_head(hidden, self.trunk.embed.attend, columns), "logits")

    def pool(self, hidden_BTD: jax.Array) -> jax.Array:
        """(B, T, D) -> (B, D): the pooler's summary of each row's first token."""
        if self.pooler is None:
            raise ValueError("model.pooler is off: the model has no summary of a row")
        return self.pooler(hidden_BTD[:, 0])

    def summary(self, hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
        """(B, D): the first real token's state, and what the pooler makes of it where there is one."""
        first_BD = cls(hidden_BTD, real_BT)
        return first_BD if self.pooler is None else self.pooler(first_BD)

    def follows(self, hidden_BTD: jax.Array) -> jax.Array:
        """(B, T, D) -> logits (B, 2): that the second segment follows the first, and that it does not."""
        if self.next_sentence is None:
            raise ValueError("model.next_sentence is off: the model does not judge what follows")
        return self.next_sentence(self.pool(hidden_BTD))

    def outputs(
        self,
        tokens_BT: jax.Array,
        positions: jax.Array | None = None,
        segments: jax.Array | None = None,
        train: bool = False,
        token_types: jax.Array | None = None,
    ) -> Outputs:
        """Hidden states and what every head makes of them. See `hidden`."""
        hidden_BTD = self.hidden(tokens_BT, positions, segments, train, token_types)
        return Outputs(
            hidden_BTD,
            None if self.pooler is None else self.pool(hidden_BTD),
            None if self.lm_head is None else self.unembed(hidden_BTD),
            None if self.next_sentence is None else self.follows(hidden_BTD),
        )

    def init_all_heads(self, tokens_BT: jax.Array) -> tuple[Any, ...]:
        """The outputs of all heads: initialising by it makes all parameters."""
        return self.outputs(tokens_BT), None if self.text_head is None else self.represent(tokens_BT)
