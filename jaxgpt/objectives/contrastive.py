"""What contrastive objectives share: texts to embeddings, in parts where memory is short, and from them to a loss.

B rows, C texts a row (anchor, positive, hard negatives), T tokens, D width, N = C - 2 hard negatives.
"""

from abc import abstractmethod
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import NonNegativeFloat

from jaxgpt.models import Model
from jaxgpt.models.model import Trained, all_trained
from jaxgpt.nn.sown import sown_losses
from jaxgpt.objectives.masked import Masking, needs_masked_head
from jaxgpt.objectives.objective import Batch, Objective
from jaxgpt.objectives.texts import Embedding, Texts, in_parts, texts_of
from jaxgpt.ops.contrastive import alignment, matryoshka, uniformity
from jaxgpt.ops.pooling import normalise
from jaxgpt.ops.random_masks import by_row
from jaxgpt.spec.sizes import Length, Width
from jaxgpt.text import Data, TrainingData

COLDEST = 0.01
"""A learned temperature goes no lower (Radford et al. 2021, section 2.5)."""


class Embedded(NamedTuple):
    """A batch's embeddings, float32, and what a loss may want to know of its rows."""

    anchor_BD: jax.Array
    positive_BD: jax.Array
    negative_NBD: jax.Array | None
    valid_B: jax.Array
    """bool: rows that hold texts, and do not fill up the batch."""
    temperature: jax.Array | None
    """Where it is learned: in place of the objective's."""
    positive_tokens_BT: jax.Array

    def same_positive(self) -> jax.Array:
        """bool (B, B): rows with one and the same text as positive."""
        return (self.positive_tokens_BT[:, None] == self.positive_tokens_BT[None]).all(-1)


class Contrastive(Objective):
    """Pulls the two embeddings of a row together and away from other rows'.

    Rows of one text are their own positives, under two dropout masks (unsupervised SimCSE, Gao et al. 2021, section 3);
    the second text of a row is its positive, further ones are hard negatives (section 4). Every loss is over the whole
    batch, on however many devices.
    """

    texts = True
    most_texts: ClassVar[int | None] = None
    """Texts of a row that it can use; None: any number."""
    chunk: Length | None = None
    """Rows embedded at once, with exact gradients (GradCache, Gao et al. 2021b): memory for a few rows' activations,
    for one more forward pass. The largest divisor of the batch up to this. None: all rows."""
    widths: tuple[Width, ...] = ()
    """Where given, the loss is the sum over the embeddings cut to these widths (Matryoshka, Kusupati et al. 2022)."""
    masking: Masking | None = None
    """Where given, anchors are filled in too, beside the contrast (Gao et al. 2021, section 3, objective (6))."""
    masking_weight: NonNegativeFloat = 0.1
    same_mask: bool = False
    """One dropout mask for both copies of a text: what SimCSE must not do, for ablations (table 3, `fixed`)."""

    @abstractmethod
    def rows(self, z: Embedded) -> jax.Array:
        """float32 (B,), the loss of each row; 0 for rows that are not valid."""

    @property
    def whole_batch(self) -> str:
        """A batch's other rows are negatives."""
        return "takes a batch's other rows as negatives; use objective.chunk, which is exact"

    @property
    def words(self) -> bool | None:
        """What the masking hides, where there is one."""
        return None if self.masking is None else self.masking.whole_word

    def settle(self, data: TrainingData) -> Self:
        """With the vocabulary's `[MASK]`, where tokens are hidden."""
        return (
            self if self.masking is None else self.evolve(masking=self.masking.settle(data.codec, "objective.masking"))
        )

    def problems(self, model: Model, data: Data, rows: int) -> list[str]:
        """It needs texts, two rows or more, and a head that makes vectors as wide as `widths`."""
        problems, texts = [], data.texts
        if not texts:
            problems.append(f"objective {self.kind} compares texts; say with data.columns which of a record's")
        if self.most_texts is not None and texts > self.most_texts:
            problems.append(f"objective {self.kind} uses {self.most_texts} texts a row; data.columns has {texts}")
        if rows < 2:
            problems.append(f"batch_size of {rows} row has no negatives in it for objective {self.kind}; use 2 or more")
        head = model.text_head
        if head is None or not head.embeds:
            problems.append(
                f"objective {self.kind} needs vectors of texts; "
                "set model.text_head={kind: contrastive, pooling: mean}"
            )
        elif wide := [width for width in self.widths if width > head.size(model.width)]:
            problems.append(f"objective.widths {wide} exceed the vectors' {head.size(model.width)}")
        return problems + ([] if self.masking is None else needs_masked_head(model, f"{self.kind}'s masking"))

    def flops_per_token(self, model: Model, data: Data, dense: bool = True, trained: Trained = all_trained) -> float:
        """FLOPs a token in training: none gets logits, but those of anchors that are filled in and read once more."""
        length = data.seq_len or model.room
        filled = 0.0 if self.masking is None else self.masking.flops_per_token(model, length, dense, trained)
        return model.flops_per_token(length, dense, 0.0, trained) + filled / max(2, data.texts)

    def loss(
        self, model: nn.Module, params: Any, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean contrast over the rows, plus the losses in `aux/`. Rows of one text are evaluated under dropout
        too, always the same: without, the two copies would be equal. `aux/` also has alignment and uniformity (Wang
        & Isola 2020), and the share of rows whose positive is nearest."""
        drawn = jax.random.key(0) if key is None else key
        texts = texts_of(batch, self.same_mask)
        train = key is not None or "tokens_1" not in batch
        embedding = in_parts(partial(self._embed, model, params, drawn, train, key is not None), texts, self.chunk)
        aux = dict(embedding.losses)
        if embedding.filled is not None:
            total, count = embedding.filled
            aux["masked"] = self.masking_weight * total / jnp.maximum(count, 1.0)
        z = self._rows(jnp.moveaxis(embedding.z_BCD, 1, 0), params, batch)
        loss_B = self._nested(z) if self.widths else self.rows(z)
        weight = jnp.sum(z.valid_B, dtype=jnp.float32)
        contrast = jnp.sum(loss_B) / jnp.maximum(weight, 1.0)
        loss = sum(aux.values(), contrast)
        metrics = {"loss": contrast, "weight": weight}
        return loss, metrics | {f"aux/{name}": value for name, value in (aux | _about(z)).items()}

    def _embed(self, model: nn.Module, params: Any, key: jax.Array, train: bool, more: bool, texts: Texts) -> Embedding:
        """`more`: with what is added to the contrast in training, losses of layers and of hidden tokens."""
        B, C, T = texts.tokens_BCT.shape
        with by_row(texts.number_BC.reshape(-1)):
            z, sown = model.apply(
                {"params": params},
                texts.tokens_BCT.reshape(-1, T),
                segments=texts.segments_BCT.reshape(-1, T),
                train=train,
                rngs={"dropout": key} if train else {},
                method="represent",
                mutable=["losses"] if more else [],
            )
        filled = self._fill_in(model, params, jax.random.fold_in(key, 1), texts) if more else None
        return Embedding(z.reshape(B, C, -1), sown_losses(sown), filled)

    def _fill_in(
        self, model: nn.Module, params: Any, key: jax.Array, texts: Texts
    ) -> tuple[jax.Array, jax.Array] | None:
        """Hides tokens of each row's first text: the summed cross-entropy of what the model reads there, and their
        number."""
        if self.masking is None:
            return None
        anchors = {"tokens": texts.tokens_BCT[:, 0], "segments": texts.segments_BCT[:, 0], "words": texts.words_BT}
        with by_row(texts.number_BC[:, 0]):
            mean, count, _ = self.masking.loss(model, params, anchors, key, True)
        return mean * count, count

    def _rows(self, z_CBD: jax.Array, params: Any, batch: Batch) -> Embedded:
        log_temperature = params.get("text_head", {}).get("log_temperature")
        return Embedded(
            anchor_BD=z_CBD[0],
            positive_BD=z_CBD[1],
            negative_NBD=z_CBD[2:] if len(z_CBD) > 2 else None,
            valid_B=batch["segments"].any(1),
            temperature=None if log_temperature is None else jnp.maximum(jnp.exp(log_temperature), COLDEST),
            positive_tokens_BT=batch.get("tokens_1", batch["tokens"]),
        )

    def _nested(self, z: Embedded) -> jax.Array:
        """float32 (B,): the losses of all `widths`."""

        def rows(anchor_BD: jax.Array, positive_BD: jax.Array, negative_NBD: jax.Array | None) -> jax.Array:
            return self.rows(z._replace(anchor_BD=anchor_BD, positive_BD=positive_BD, negative_NBD=negative_NBD))

        return matryoshka(rows, self.widths)(z.anchor_BD, z.positive_BD, z.negative_NBD)


def _about(z: Embedded) -> dict[str, jax.Array]:
    """What is reported of a batch's embeddings besides their loss."""
    a_BD, p_BD = (normalise(jax.lax.stop_gradient(x)) for x in (z.anchor_BD, z.positive_BD))
    nearest_B = jnp.argmax(a_BD @ p_BD.T, -1) == jnp.arange(len(a_BD))
    weight = jnp.sum(z.valid_B, dtype=jnp.float32)
    metrics = {"accuracy": jnp.sum(nearest_B & z.valid_B) / jnp.maximum(weight, 1.0)}
    metrics |= {"alignment": alignment(a_BD, p_BD), "uniformity": uniformity(a_BD)}
    return metrics if z.temperature is None else metrics | {"temperature": z.temperature}
