"""Does a second segment follow the first? BERT's other objective (Devlin et al. 2019, section 3.1). B rows."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import Field, NonNegativeFloat

from jaxgpt.models import Model
from jaxgpt.objectives.framing import Pairs, pair
from jaxgpt.objectives.objective import Batch
from jaxgpt.spec import Spec
from jaxgpt.text import Data

Frame = tuple[tuple[int, ...], tuple[int, ...]]
"""Ids in front of a row, and behind each of its segments."""


class NextSentence(Spec):
    """Rows as two segments, `[CLS]` first `[SEP]` second `[SEP]`, of which the second follows the first or is another
    row's. They are cut at any token, where BERT's end as sentences do."""

    inputs = ("weight", "swapped")
    weight: NonNegativeFloat = 1.0
    """Of the cross-entropy of that choice, beside that of hidden tokens."""
    swapped: float = Field(default=0.5, gt=0, lt=1)
    """Share of rows whose second segment is another row's."""

    def problems(self, model: Model, data: Data, rows: int) -> list[str]:
        """Why no such pairs can be made, or judged, a line each."""
        problems = []
        if not model.judges_pairs:
            problems.append(
                "objective.next_sentence needs an encoder with model.next_sentence, and model.token_types 2"
            )
        if data.texts or data.documents == "separate":
            problems.append(
                "objective.next_sentence cuts windows; leave data.columns out, and set data.documents cross"
            )
        length = data.seq_len or model.room
        if length < 5:
            problems.append(f"objective.next_sentence needs rows of 5 tokens; data.seq_len is {length}")
        if rows < 2:
            problems.append(f"batch_size of {rows} row has no other segment for objective.next_sentence; use 2 or more")
        return problems

    def pairs(self, batch: Batch, key: jax.Array, frame: Frame) -> tuple[Batch, Pairs, jax.Array]:
        """The batch as pairs, how they were made, and which rows hold text to their end, bool (B,)."""
        tokens_BT = batch["tokens"]
        paired = pair(key, tokens_BT, batch["words"], self.swapped, *frame)
        weights_BT = batch.get("weights", jnp.ones(tokens_BT.shape, jnp.float32))
        whole_B = (weights_BT > 0).all(1)
        valid_B = whole_B & whole_B[paired.partner_B]
        read = {"tokens": paired.tokens_BT, "words": paired.words_BT, "token_types": paired.types_BT}
        return read, paired, valid_B

    def loss(
        self, model: nn.Module, params: Any, hidden_BTD: jax.Array, paired: Pairs, valid_B: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Mean cross-entropy in nats a pair, and the share that is judged right."""
        logits_B2 = model.apply({"params": params}, hidden_BTD, method="follows").astype(jnp.float32)
        right_B = paired.swapped_B.astype(jnp.int32)
        nll_B = -jnp.take_along_axis(jax.nn.log_softmax(logits_B2), right_B[:, None], 1)[:, 0]
        count = jnp.maximum(jnp.sum(valid_B, dtype=jnp.float32), 1.0)
        hit_B = (jnp.argmax(logits_B2, -1) == right_B) & valid_B
        return jnp.sum(jnp.where(valid_B, nll_B, 0.0)) / count, jnp.sum(hit_B) / count
