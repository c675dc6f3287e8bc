"""What contrastive objectives share: texts to embeddings, in parts where memory is short, and from them to a loss.

B rows, C texts a row (anchor, positive, hard negatives), T tokens, D width, N = C - 2 hard negatives.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import NonNegativeFloat

from jaxgpt.models import Model
from jaxgpt.nn.contrastive import Contrastive as ContrastiveHead
from jaxgpt.objectives.masked import Masking, needs_masked_head
from jaxgpt.objectives.objective import Batch, Objective, sown_by_name
from jaxgpt.ops.contrastive import alignment, matryoshka, uniformity
from jaxgpt.ops.pooling import normalise
from jaxgpt.ops.random_masks import by_row
from jaxgpt.spec.sizes import Length, Width
from jaxgpt.text import Codec, Data

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
    same: Callable[[], jax.Array]
    """Compares all rows' texts: bool (B, B), those with one and the same positive."""


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
        """See Objective."""
        return "takes a batch's other rows as negatives; use objective.chunk, which is exact"

    @property
    def words(self) -> bool | None:
        """See Objective."""
        return None if self.masking is None else self.masking.whole_word

    def settle(self, codec: Codec) -> Self:
        """See Objective."""
        return self if self.masking is None else self.evolve(masking=self.masking.settle(codec, "objective.masking"))

    def problems(self, model: Model, data: Data, rows: int) -> list[str]:
        """See Objective."""
        found, texts = [], data.texts
        if not texts:
            found.append(f"objective {self.kind} compares texts; say with data.columns which of a record's")
        if self.most_texts is not None and texts > self.most_texts:
            found.append(f"objective {self.kind} uses {self.most_texts} texts a row; data.columns has {texts}")
        if rows < 2:
            found.append(f"batch_size of {rows} row has no negatives in it for objective {self.kind}; use 2 or more")
        head = model.text_head
        if not isinstance(head, ContrastiveHead):
            found.append(
                f"objective {self.kind} needs vectors of texts; "
                "set model.text_head={kind: contrastive, pooling: mean}"
            )
        elif wide := [width for width in self.widths if width > head.size(model.width)]:
            found.append(f"objective.widths {wide} exceed the vectors' {head.size(model.width)}")
        return found + ([] if self.masking is None else needs_masked_head(model, f"{self.kind}'s masking"))

    def flops_per_token(self, model: Model, data: Data, dense: bool = True) -> float:
        """See Objective. No token gets logits, but those of anchors that are filled in, which are read once more."""
        length = data.seq_len or model.context
        filled = 0.0 if self.masking is None else self.masking.flops_per_token(model, length, dense)
        return model.flops_per_token(length, dense, scored=0.0) + filled / max(2, data.texts)

    def loss(
        self, model: nn.Module, params: Any, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """See Objective.loss. Rows of one text are evaluated under dropout too, always the same: without, the two
        copies would be equal. `aux/` has alignment and uniformity (Wang & Isola 2020), and the share of rows whose
        positive is nearest."""
        z_CBD, aux = self._embed(model, params, batch, key)
        valid_B = batch["segments"].any(1)
        anchor_BD, positive_BD = z_CBD[0], z_CBD[1]
        negative_NBD = z_CBD[2:] if len(z_CBD) > 2 else None
        log_temperature = params.get("text_head", {}).get("log_temperature")
        temperature = None if log_temperature is None else jnp.maximum(jnp.exp(log_temperature), COLDEST)
        told_BT = batch.get("tokens_1", batch["tokens"])
        same = lambda: (told_BT[:, None] == told_BT[None]).all(-1)  # noqa: E731
        one = lambda a, p, n: self.rows(Embedded(a, p, n, valid_B, temperature, same))  # noqa: E731
        loss_B = (matryoshka(one, self.widths) if self.widths else one)(anchor_BD, positive_BD, negative_NBD)
        weight = jnp.sum(valid_B, dtype=jnp.float32)
        contrast = jnp.sum(loss_B) / jnp.maximum(weight, 1.0)
        loss = sum(aux.values(), contrast)
        a_BD, p_BD = normalise(jax.lax.stop_gradient(anchor_BD)), normalise(jax.lax.stop_gradient(positive_BD))
        nearest_B = jnp.argmax(a_BD @ p_BD.T, -1) == jnp.arange(len(a_BD))
        aux |= {"accuracy": jnp.sum(nearest_B & valid_B) / jnp.maximum(weight, 1.0)}
        aux |= {"alignment": alignment(a_BD, p_BD), "uniformity": uniformity(a_BD)}
        if temperature is not None:
            aux["temperature"] = temperature
        return loss, {"loss": contrast, "weight": weight} | {f"aux/{name}": value for name, value in aux.items()}

    def _embed(
        self, model: nn.Module, params: Any, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """float32 (C, B, D), and what is added to the loss, by name."""
        others = sum(name.startswith("tokens_") for name in batch)
        train = key is not None or not others
        drawn = jax.random.key(0) if key is None else key
        copies = 1 if others else 2
        names = ["", *(f"_{i}" for i in range(1, others + 1))] * copies
        tokens_BCT, segments_BCT = (
            jnp.stack([batch[kind + name] for name in names], 1) for kind in ("tokens", "segments")
        )
        B, C = tokens_BCT.shape[:2]
        size = B if self.chunk is None else max(n for n in range(1, min(self.chunk, B) + 1) if B % n == 0)
        # A text's number decides its dropout: copies of one have different numbers, and parts see what the whole would.
        rows_BC = jnp.arange(B)[:, None] * C + jnp.arange(C) * (0 if self.same_mask and not others else 1)
        words_BT = batch.get("words", jnp.zeros((B, 0), jnp.int32))

        def embed(tokens: jax.Array, segments: jax.Array, rows: jax.Array, words: jax.Array) -> Any:
            flat = lambda x: x.reshape(-1, *x.shape[2:])  # noqa: E731
            with by_row(flat(rows)):
                z, sown = model.apply(
                    {"params": params},
                    flat(tokens),
                    segments=flat(segments),
                    train=train,
                    rngs={"dropout": drawn},
                    method="represent",
                    mutable=["losses"] if key is not None else [],
                )
            told = None
            if self.masking is not None and key is not None:
                with by_row(rows[:, 0]):
                    mine = {"tokens": tokens[:, 0], "segments": segments[:, 0], "words": words}
                    mean, count, _ = self.masking.loss(model, params, mine, jax.random.fold_in(drawn, 1), True, None)
                    told = mean * count, count
            return z.reshape(-1, C, z.shape[-1]), sown_by_name(sown.get("losses", {})), told

        inputs = tokens_BCT, segments_BCT, rows_BC, words_BT
        if size == B:
            z_BCD, sown, told = embed(*inputs)
        else:
            # Neighbouring rows go to different parts, so that every device keeps a share of each.
            cut = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(size, B // size, *x.shape[1:]), 1, 0), inputs)
            z_PSCD, sown, told = jax.lax.map(jax.checkpoint(lambda part: embed(*part)), cut)
            z_BCD = jnp.moveaxis(z_PSCD, 0, 1).reshape(B, C, -1)
            sown = {name: value.mean() for name, value in sown.items()}
            told = jax.tree.map(jnp.sum, told)
        aux = dict(sown)
        if told is not None:
            aux["masked"] = self.masking_weight * told[0] / jnp.maximum(told[1], 1.0)
        return jnp.moveaxis(z_BCD, 1, 0), aux
