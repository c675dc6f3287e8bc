"""What the tasks share: the model reads a row's sequences, its text head answers, and that has a loss.

B rows, N sequences a row, T tokens, D model width, C outputs.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import NonNegativeFloat

from jaxgpt.models import Model
from jaxgpt.models.model import Trained, all_trained
from jaxgpt.objectives.objective import Batch, Objective
from jaxgpt.objectives.sequences import Read, Sequences, next_token_loss, read, sequences_of
from jaxgpt.objectives.token_losses import Chunk
from jaxgpt.ops.patterns import sees_ahead
from jaxgpt.ops.random_masks import by_row, rows_of
from jaxgpt.spec.inputs import enabled
from jaxgpt.text import Data

Judge = Callable[[jax.Array], jax.Array]
"""What a text head says of pooled states: (B, ..., D) -> float32 (B, ..., C)."""


class RowLosses(NamedTuple):
    """float32 (B,) each."""

    optimised_B: jax.Array
    reported_B: jax.Array
    """The same without what is there for training alone, such as label smoothing."""
    weight_B: jax.Array
    """How much a row counts."""


class Task(Objective):
    """An answer about a text, or about several, by the model's text head (`model.text_head: {kind: task}`)."""

    texts = True
    inputs: ClassVar[tuple[str, ...]] = ("lm_weight",)
    switches: ClassVar[tuple[str, ...]] = inputs
    lm_weight: NonNegativeFloat = 0.0
    """λ of next-token prediction on the same sequences, beside the task in training: the mean over a sequence's own
    tokens, then over the batch's sequences, wrong candidates too (Radford et al. 2018, section 3.2: 0.5)."""
    chunk: Chunk = "auto"
    """Where lm_weight is set, tokens whose logits exist at once, or all; auto: all where memory allows it."""

    @abstractmethod
    def answer(self, judge: Judge, pooled_BND: jax.Array, real_BN: jax.Array) -> jax.Array:
        """float32 (B, C), from the pooled states of a row's sequences; `real_BN` bool: those that hold text."""

    @abstractmethod
    def row_losses(self, outputs_BC: jax.Array, batch: Batch, head: Any) -> RowLosses:
        """What the answers cost; `head` is the spec of the model's text head."""

    def with_logits(self, tokens: int | None) -> Self | None:
        """The same with `chunk` settled, where it is auto and there are logits."""
        return self.evolve(chunk=tokens or "all") if self.lm_weight and self.chunk == "auto" else None

    def problems(self, model: Model, data: Data, rows: int) -> list[str]:
        """It needs a head that answers, and for lm_weight a model that does not see what it predicts."""
        problems, head = [], model.text_head
        if head is None or not head.judges:
            problems.append(f"objective {self.kind} needs an answer about texts; set model.text_head={{kind: task}}")
        elif self.target != "class" and head.size(model.width) > 1:
            problems.append(f"objective {self.kind} takes one number; leave out model.text_head.labels")
        if self.lm_weight and not model.continues:
            problems.append(f"objective.lm_weight: model {model.kind} predicts no next token; leave it out")
        elif self.lm_weight:
            length = data.seq_len or model.room
            problems += [
                f"objective.lm_weight predicts tokens that model.{name} '{pattern.kind}' shows; leave it out"
                for name, pattern in model.named_patterns().items()
                if sees_ahead(pattern, length)
            ]
        return problems

    def flops_per_token(self, model: Model, data: Data, dense: bool = True, trained: Trained = all_trained) -> float:
        """FLOPs a token in training: tokens get logits where lm_weight is set, else none does."""
        return model.flops_per_token(data.seq_len or model.room, dense, float(self.lm_weight > 0), trained)

    def outputs(self, model: nn.Module, params: Any, batch: Batch) -> jax.Array:
        """float32 (B, C): what is said of each row, without dropout. The batch needs no label."""
        sequences = sequences_of(batch)
        return self._answers(model, params, sequences, read(model, params, sequences, None), None)

    def loss(
        self, model: nn.Module, params: Any, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean over the rows by their weights; in training plus `aux/lm`, which counts by `weight/lm` sequences,
        and the losses that layers sow.

        In evaluation the metrics have what each row got: `rows/outputs` float32 (B, C), `rows/target` (B,) and
        `rows/real` bool (B,), which is False for rows that fill up a batch.
        """
        sequences = sequences_of(batch)
        states = read(model, params, sequences, key)
        outputs_BC = self._answers(model, params, sequences, states, key)
        optimised_B, reported_B, weight_B = self.row_losses(outputs_BC, batch, model.spec.text_head)
        real_B = sequences.real_BN[:, 0]
        weight_B = jnp.where(real_B, weight_B, 0.0)
        total = jnp.sum(weight_B)
        reported = jnp.sum(reported_B * weight_B) / jnp.maximum(total, 1e-9)
        metrics = {"loss": reported, "weight": total}
        if key is None:
            target_B = batch["score" if self.target == "number" else "label"]
            return reported, metrics | {"rows/outputs": outputs_BC, "rows/target": target_B, "rows/real": real_B}
        aux = dict(states.losses)
        if enabled(self.lm_weight):
            predicted, metrics["weight/lm"] = next_token_loss(model, params, states.hidden_STD, sequences, self.chunk)
            aux["lm"] = self.lm_weight * predicted
        optimised = jnp.sum(optimised_B * weight_B) / jnp.maximum(total, 1e-9)
        return sum(aux.values(), optimised), metrics | {f"aux/{name}": value for name, value in aux.items()}

    def _answers(
        self, model: nn.Module, params: Any, sequences: Sequences, states: Read, key: jax.Array | None
    ) -> jax.Array:
        B = len(sequences.real_BN)
        rngs = {} if key is None else {"dropout": key}

        def judge(pooled: jax.Array) -> jax.Array:
            with by_row(rows_of(B)):
                return model.apply({"params": params}, pooled, key is not None, rngs=rngs, method="judge")

        return self.answer(judge, states.pooled_BND, sequences.real_BN)
