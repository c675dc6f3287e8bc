"""Filling in hidden tokens. B rows, T tokens, P places told in a row, D model width."""

from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import Field, model_validator

from jaxgpt.models import Model
from jaxgpt.models.model import Trained, all_trained
from jaxgpt.objectives.framing import framed
from jaxgpt.objectives.next_sentence import NextSentence
from jaxgpt.objectives.objective import Batch, Objective
from jaxgpt.objectives.token_losses import Chunk, token_losses
from jaxgpt.objectives.token_masking import hide
from jaxgpt.spec import ConfigError, Spec
from jaxgpt.spec.sizes import Index, Length
from jaxgpt.text import Codec, Data, TrainingData


class Masking(Spec):
    """Which tokens are hidden, and how."""

    inputs = ("rate",)
    rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of the words, or of the tokens, that are to be told."""
    random: float = Field(default=0.1, ge=0, le=1)
    """Share of these that read as any token of the vocabulary."""
    kept: float = Field(default=0.1, ge=0, le=1)
    """Share of these that stay as they are; the rest read `[MASK]`."""
    whole_word: bool = False
    """Whether all tokens of a word are hidden together, as BERT's later checkpoints were trained."""
    predictions: Length | None = None
    """Tokens of a row that are scored at most, the first of those hidden; None: all. Saves the others' logits."""
    mask_id: Index | None = None
    """Id of `[MASK]`; None: the tokenizer's."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.random + self.kept > 1:
            raise ValueError(f"random {self.random} and kept {self.kept} are shares of one; lower them")
        return self

    def settle(self, codec: Codec, field: str) -> "Masking":
        """With the vocabulary's mask. Raises ConfigError where it has none."""
        if self.mask_id is None and codec.mask is None:
            raise ConfigError(f"{field}.mask_id: the tokenizer has no [MASK]; use a wordpiece tokenizer, or name an id")
        return self if self.mask_id is not None else self.evolve(mask_id=codec.mask)

    def flops_per_token(self, model: Model, length: int, dense: bool, trained: Trained = all_trained) -> float:
        """Only tokens among `predictions` get logits."""
        scored = 1.0 if self.predictions is None else min(1.0, self.predictions / length)
        return model.flops_per_token(length, dense, scored, trained)

    def loss(
        self, model: nn.Module, params: Any, batch: Batch, key: jax.Array, train: bool, chunk: Chunk = "all"
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Draws masks and dropout: mean cross-entropy in nats of the hidden tokens, how many there were, and the hidden
        states (B, T, D)."""
        masks, dropout = jax.random.split(key)
        size = model.spec.vocab_size
        read_BT, target_BT = hide(
            masks, batch["tokens"], batch["words"], self.rate, self.random, self.kept, self.mask_id or 0, size
        )
        hidden_BTD = model.apply(
            {"params": params},
            read_BT,
            positions=batch.get("positions"),
            segments=batch.get("segments"),
            train=train,
            token_types=batch.get("token_types"),
            rngs={"dropout": dropout} if train else {},
            method="hidden",
        )
        all_BTD = hidden_BTD
        targets_BT = batch["tokens"]
        if self.predictions is not None and self.predictions < targets_BT.shape[1]:
            _, at_BP = jax.lax.top_k(target_BT.astype(jnp.float32), self.predictions)
            hidden_BTD = jnp.take_along_axis(hidden_BTD, at_BP[..., None], 1)
            targets_BT, target_BT = (jnp.take_along_axis(x, at_BP, 1) for x in (targets_BT, target_BT))
        _, nll_BT = token_losses(model, params, hidden_BTD, targets_BT, chunk)
        count = jnp.sum(target_BT, dtype=jnp.float32)
        return jnp.sum(jnp.where(target_BT, nll_BT, 0.0)) / jnp.maximum(count, 1.0), count, all_BTD


class MaskedLanguageModel(Objective):
    """Cross-entropy of hidden tokens given those around them, in nats a hidden token."""

    citation = "Devlin et al. 2019, section 3.1"
    masking: Masking = Masking()
    next_sentence: NextSentence | None = None
    """Where given, rows are pairs of segments, and the model tells which of them belong together: `{}` is BERT's."""
    frame: tuple[tuple[Index, ...], tuple[Index, ...]] | None = None
    """Ids in front of a row that is cut from a corpus, and behind it and between its segments. None: the tokenizer's,
    BERT's `[CLS]` and `[SEP]`, in place of the row's last tokens. Rows of texts have theirs, those of `documents:
    separate` none."""
    chunk: Chunk = "auto"
    """Tokens whose logits exist at once, or all; auto: all where memory allows it, else a part of a batch."""

    @property
    def whole_batch(self) -> str | None:
        """Pairs are made of a batch's rows; without them every row's loss is its own."""
        return None if self.next_sentence is None else "pairs a batch's rows with each other; use exec.remat=block"

    def with_logits(self, tokens: int | None) -> Self | None:
        """The same with `chunk` settled, where it is auto."""
        return self.evolve(chunk=tokens or "all") if self.chunk == "auto" else None

    @property
    def words(self) -> bool | None:
        """Whole words where they are hidden whole, else tokens."""
        return self.masking.whole_word

    def settle(self, data: TrainingData) -> "MaskedLanguageModel":
        """With the vocabulary's `[MASK]` and the frame of a row."""
        codec = data.codec
        frame = codec.frame if self.frame is None else self.frame
        if self.next_sentence is not None and not all(frame):
            raise ConfigError("objective.frame: the tokenizer has no [CLS] and [SEP]; use wordpiece, or name their ids")
        return self.evolve(masking=self.masking.settle(codec, "objective.masking"), frame=frame)

    def problems(self, model: Model, data: Data, rows: int) -> list[str]:
        """It needs a masked head, one text a row, and for next sentence what that needs."""
        problems = needs_masked_head(model, self.kind)
        if data.texts > 1:
            problems.append(f"objective {self.kind} reads one text a row; set data.columns 1 or data.apart")
        return problems + ([] if self.next_sentence is None else self.next_sentence.problems(model, data, rows))

    def flops_per_token(self, model: Model, data: Data, dense: bool = True, trained: Trained = all_trained) -> float:
        """Logits are made for `masking.predictions` tokens of a row alone."""
        return self.masking.flops_per_token(model, data.seq_len or model.room, dense, trained)

    def loss(
        self, model: nn.Module, params: Any, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean cross-entropy of hidden tokens, in training plus that of next sentences. Evaluation hides the same
        tokens of a batch each time, and makes the same pairs; it reports the hidden tokens' loss, and in `aux/` that
        of next sentences."""
        drawn = jax.random.key(0) if key is None else key
        frame = self.frame or ((), ())
        if self.next_sentence is None:
            read = dict(batch)
            if "segments" not in batch:
                read["tokens"], read["words"] = framed(batch["tokens"], batch["words"], *frame)
            loss, count, _ = self.masking.loss(model, params, read, drawn, key is not None, self.chunk)
            return loss, {"loss": loss, "weight": count}
        pairs, paired, valid_B = self.next_sentence.pairs(batch, jax.random.fold_in(drawn, 1), frame)
        loss, count, hidden_BTD = self.masking.loss(model, params, pairs, drawn, key is not None, self.chunk)
        judged, accuracy = self.next_sentence.loss(model, params, hidden_BTD, paired, valid_B)
        whole = loss if key is None else loss + self.next_sentence.weight * judged
        aux = {"aux/next_sentence": judged, "aux/next_sentence_accuracy": accuracy}
        return whole, {"loss": loss, "weight": count} | aux


def needs_masked_head(model: Model, kind: str) -> list[str]:
    """Why `model` cannot fill in tokens."""
    if model.fills_in:
        return []
    return [f"objective {kind} fills in tokens; it needs an encoder with masked_head, not model {model.kind}"]
