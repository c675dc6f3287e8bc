"""The contrastive objectives, one loss each. Shapes as in `Embedded`."""

from typing import Literal

import jax
from pydantic import Field, NonNegativeFloat, PositiveFloat

from jaxgpt.objectives.contrastive import Contrastive, Embedded
from jaxgpt.ops.contrastive import angular, info_nce, nt_xent, triplet


class InfoNCE(Contrastive, kind="info_nce"):
    """Cross-entropy over cosines: an anchor picks its positive among all rows' positives and hard negatives."""

    citation = "van den Oord et al. 2018; Gao et al. 2021 (SimCSE), equations 1 and 5"
    inputs = ("temperature", "hard_negative_weight")
    temperature: PositiveFloat = 0.05
    symmetric: bool = False
    """Whether positives pick their anchors too, and the mean of both is taken (CLIP)."""
    hard_negative_weight: float = 0.0
    """Added to the logits of a row's own hard negatives."""
    false_negative_margin: NonNegativeFloat | None = None
    """Where given, negatives nearer than the positive by more than this cosine are left out."""
    mask_duplicates: bool = False
    """Whether rows with one and the same positive are left out of each other's negatives."""

    def rows(self, z: Embedded) -> jax.Array:
        """Cross-entropy in nats of picking the positive, at the learned temperature where the model has one."""
        return info_nce(
            z.anchor_BD,
            z.positive_BD,
            z.negative_NBD,
            self.temperature if z.temperature is None else z.temperature,
            symmetric=self.symmetric,
            hard_negative_weight=self.hard_negative_weight,
            false_negative_margin=self.false_negative_margin,
            same_BB=z.same_positive() if self.mask_duplicates else None,
            valid_B=z.valid_B,
        )


class NTXent(Contrastive, kind="nt_xent"):
    """Each of a batch's 2·B embeddings picks its partner among all others."""

    citation = "Chen et al. 2020 (SimCLR), equation 1"
    most_texts = 2
    inputs = ("temperature",)
    temperature: PositiveFloat = 0.05

    def rows(self, z: Embedded) -> jax.Array:
        """Mean cross-entropy in nats of a row's two views picking each other."""
        temperature = self.temperature if z.temperature is None else z.temperature
        return nt_xent(z.anchor_BD, z.positive_BD, temperature, valid_B=z.valid_B)


class Triplet(Contrastive):
    """An anchor is nearer to its positive than to its negative, by a margin; without negatives, than to the hardest of
    the batch."""

    citation = "Schroff et al. 2015; Reimers & Gurevych 2019 (Sentence-BERT), section 3"
    most_texts = 3
    inputs = ("margin",)
    margin: PositiveFloat = 1.0
    distance: Literal["cosine", "euclidean"] = "euclidean"

    def rows(self, z: Embedded) -> jax.Array:
        """How far the positive is from being nearer than the negative by the margin."""
        negative_BD = None if z.negative_NBD is None else z.negative_NBD[0]
        return triplet(z.anchor_BD, z.positive_BD, negative_BD, self.margin, self.distance, valid_B=z.valid_B)


class Angular(Contrastive):
    """The angle at a negative, in its triangle with anchor and positive, stays small."""

    citation = "Wang et al. 2017, Deep Metric Learning with Angular Loss"
    most_texts = 2
    inputs = ("alpha",)
    alpha: float = Field(default=45.0, gt=0, lt=90)
    """Degrees."""

    def rows(self, z: Embedded) -> jax.Array:
        """By how far the angles at other rows' positives exceed `alpha`, as a smooth maximum."""
        return angular(z.anchor_BD, z.positive_BD, self.alpha, valid_B=z.valid_B)
