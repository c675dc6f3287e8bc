"""Losses between embeddings.

B rows, C the same rows as columns, D width, N hard negatives a row, K = 1 + N groups of columns, V two views.

Embeddings come as the model made them; all but the euclidean triplet compare directions only. Losses are float32 (B,),
one a row. Columns are the rows of the whole batch, however it lies on devices: none is gathered or copied by hand.
`valid_B` is bool or a number: a row with 0 is nobody's negative, its own loss is 0, and it may hold anything.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from jaxgpt.ops.pooling import normalise

Scalar = float | jax.Array


def info_nce(
    anchor_BD: jax.Array,
    positive_BD: jax.Array,
    negative_NBD: jax.Array | None = None,
    temperature: Scalar = 0.05,
    *,
    symmetric: bool = False,
    hard_negative_weight: Scalar = 0.0,
    false_negative_margin: Scalar | None = None,
    same_BB: jax.Array | None = None,
    valid_B: jax.Array | None = None,
) -> jax.Array:
    """Cross-entropy over cos / temperature with every row's positive and hard negatives as columns, in nats.

    SimCSE (Gao et al. 2021, equations 1 and 5). `hard_negative_weight` is added to the logits of a row's own hard
    negatives alone, as in its code. `symmetric`: the mean with the loss of positives to anchors, which has no hard
    negatives (CLIP, Radford et al. 2021, figure 3; Günther et al. 2024).

    Left out of the sum are negatives whose cosine exceeds the positive's by more than `false_negative_margin` (Zhang et
    al. 2025, Qwen3 Embedding: 0.1; GISTEmbed's absolute margin with its sign turned) and, where `same_BB`
    is true, positive j for anchor i: say, because both rows' positives are one text.
    """
    anchor_BD, positive_BD = _directions(anchor_BD, valid_B), _directions(positive_BD, valid_B)
    columns_KBD = positive_BD[None]
    if negative_NBD is not None:
        columns_KBD = jnp.concatenate([columns_KBD, _directions(negative_NBD, valid_B)])

    def one_way(row_BD: jax.Array, columns_KBD: jax.Array, same_BB: jax.Array | None) -> jax.Array:
        cosine_BKC = jnp.einsum("bd,kcd->bkc", row_BD, columns_KBD, precision="highest")
        own_B1C, first_K1 = _own(row_BD)[:, None], (jnp.arange(columns_KBD.shape[0]) == 0)[:, None]
        positive_BKC = own_B1C & first_K1
        positive_B11 = jnp.sum(jnp.where(positive_BKC, cosine_BKC, 0.0), (1, 2), keepdims=True)
        out_BKC = jnp.zeros_like(positive_BKC)
        if valid_B is not None:
            out_BKC |= valid_B == 0
        if false_negative_margin is not None:
            out_BKC |= cosine_BKC > positive_B11 + false_negative_margin
        if same_BB is not None:
            out_BKC |= same_BB[:, None] & first_K1
        logits_BKC = cosine_BKC / temperature + jnp.where(own_B1C & ~first_K1, hard_negative_weight, 0.0)
        logits_BKC = jnp.where(out_BKC & ~positive_BKC, -jnp.inf, logits_BKC)
        return jax.nn.logsumexp(logits_BKC, (1, 2)) - positive_B11[:, 0, 0] / temperature

    loss_B = one_way(anchor_BD, columns_KBD, same_BB)
    if symmetric:
        loss_B = (loss_B + one_way(positive_BD, anchor_BD[None], None if same_BB is None else same_BB.T)) / 2
    return _of_valid(loss_B, valid_B)


def nt_xent(a_BD: jax.Array, b_BD: jax.Array, temperature: Scalar, *, valid_B: jax.Array | None = None) -> jax.Array:
    """Each of 2B views picks out its partner among all other views; the mean of a row's two losses, in nats.

    SimCLR (Chen et al. 2020, equation 1).
    """
    x_VBD = jnp.stack([_directions(a_BD, valid_B), _directions(b_BD, valid_B)])
    logits_VBVC = jnp.einsum("vbd,wcd->vbwc", x_VBD, x_VBD, precision="highest") / temperature
    same_view_V1V1 = jnp.eye(2, dtype=bool)[:, None, :, None]
    own_1B1C = _own(a_BD)[None, :, None]
    partner_VBVC = own_1B1C & ~same_view_V1V1
    out_VBVC = own_1B1C & same_view_V1V1
    if valid_B is not None:
        out_VBVC |= (valid_B == 0) & ~own_1B1C
    log_z_VB = jax.nn.logsumexp(jnp.where(out_VBVC, -jnp.inf, logits_VBVC), (2, 3))
    loss_VB = log_z_VB - jnp.sum(jnp.where(partner_VBVC, logits_VBVC, 0.0), (2, 3))
    return _of_valid(loss_VB.mean(0), valid_B)


def triplet(
    anchor_BD: jax.Array,
    positive_BD: jax.Array,
    negative_BD: jax.Array | None = None,
    margin: Scalar = 1.0,
    distance: Literal["cosine", "euclidean"] = "euclidean",
    *,
    valid_B: jax.Array | None = None,
) -> jax.Array:
    """max(0, d(anchor, positive) − d(anchor, negative) + margin) (Reimers & Gurevych 2019, section 3).

    d is 1 − cosine, or the length of the difference, of embeddings as they are. Without negatives a row takes the other
    row's positive that is nearest to its anchor, the hardest (Schroff et al. 2015, section 3.2, where distances are
    squared); a row that is alone in its batch has loss 0.
    """
    read = normalise if distance == "cosine" else _float32
    anchor_BD, positive_BD = read(_blank(anchor_BD, valid_B)), read(_blank(positive_BD, valid_B))

    def apart(other_BD: jax.Array) -> jax.Array:
        if distance == "cosine":
            return 1 - jnp.sum(anchor_BD * other_BD, -1)
        square_B = jnp.sum(jnp.square(anchor_BD - other_BD), -1)
        return jnp.sqrt(jnp.maximum(square_B, 1e-24))  # the root has no gradient at 0

    if negative_BD is None:
        allowed_BC = _others(anchor_BD, valid_B)
        near_BC = jnp.matmul(anchor_BD, positive_BD.T, precision="highest")
        near_BC -= jnp.sum(jnp.square(positive_BD), -1) / 2  # orders a row's columns as the distances do
        other_BD = positive_BD[jnp.argmax(jnp.where(allowed_BC, near_BC, -jnp.inf), -1)]
        loss_B = jnp.where(allowed_BC.any(-1), jax.nn.relu(apart(positive_BD) - apart(other_BD) + margin), 0.0)
    else:
        loss_B = jax.nn.relu(apart(positive_BD) - apart(read(_blank(negative_BD, valid_B))) + margin)
    return _of_valid(loss_B, valid_B)


def angular(
    anchor_BD: jax.Array, positive_BD: jax.Array, alpha_degrees: Scalar, *, valid_B: jax.Array | None = None
) -> jax.Array:
    """log(1 + Σ_n exp(4 tan²α (a + p)·n − 2 (1 + tan²α) a·p)), n the other rows' positives, all of length 1.

    It bounds the angle at n in the triangle of a, p and n by α (Wang et al. 2017, in its N-pair form).
    """
    anchor_BD, positive_BD = _directions(anchor_BD, valid_B), _directions(positive_BD, valid_B)
    square = jnp.square(jnp.tan(jnp.deg2rad(alpha_degrees)))
    near_BC = jnp.matmul(anchor_BD + positive_BD, positive_BD.T, precision="highest")
    pair_B1 = jnp.sum(anchor_BD * positive_BD, -1, keepdims=True)
    f_BC = 4 * square * near_BC - 2 * (1 + square) * pair_B1
    f_BC = jnp.where(_others(anchor_BD, valid_B), f_BC, jnp.where(_own(anchor_BD), 0.0, -jnp.inf))  # e⁰ is the 1
    return _of_valid(jax.nn.logsumexp(f_BC, -1), valid_B)


def matryoshka(
    loss: Callable[..., jax.Array], widths: Sequence[int], weights: Sequence[float] | None = None
) -> Callable[..., jax.Array]:
    """`loss` of the first d channels of every embedding, weighted and summed over the widths d; weights are 1 if None.

    Kusupati et al. 2022, equation 1. What is returned takes embeddings, or None, by position, all else by keyword.
    """
    weights = [1.0] * len(widths) if weights is None else weights

    def nested(*embeddings: jax.Array | None, **options: object) -> jax.Array:
        total = jnp.zeros((), jnp.float32)
        for width, weight in zip(widths, weights, strict=True):
            total += weight * loss(*(None if x is None else x[..., :width] for x in embeddings), **options)
        return total

    return nested


def alignment(a_BD: jax.Array, b_BD: jax.Array) -> jax.Array:
    """The mean squared distance of a row's two embeddings at length 1, a float32 scalar.

    Wang & Isola 2020, section 4.1.1, with α = 2.
    """
    return jnp.mean(jnp.sum(jnp.square(normalise(a_BD) - normalise(b_BD)), -1))


def uniformity(x_BD: jax.Array, t: Scalar = 2.0) -> jax.Array:
    """log of the mean of exp(−t · squared distance) over pairs of distinct rows at length 1, a float32 scalar.

    Wang & Isola 2020, section 4.1.2. At least two rows.
    """
    x_BD = normalise(x_BD)
    B = x_BD.shape[0]
    square_BC = 2 - 2 * jnp.matmul(x_BD, x_BD.T, precision="highest")
    return jax.nn.logsumexp(jnp.where(_own(x_BD), -jnp.inf, -t * square_BC)) - jnp.log(B * (B - 1.0))


def _own(x_BD: jax.Array) -> jax.Array:
    return jnp.eye(x_BD.shape[0], dtype=bool)


def _others(x_BD: jax.Array, valid_B: jax.Array | None) -> jax.Array:
    return ~_own(x_BD) if valid_B is None else ~_own(x_BD) & (valid_B != 0)[None]


def _float32(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)


def _blank(x: jax.Array, valid_B: jax.Array | None) -> jax.Array:
    """(..., B, D) with 0 in rows that are not valid: NaN there would reach other rows through a product's gradient."""
    return x if valid_B is None else jnp.where((valid_B != 0)[:, None], x, 0)


def _directions(x: jax.Array, valid_B: jax.Array | None) -> jax.Array:
    return normalise(_blank(x, valid_B))


def _of_valid(loss_B: jax.Array, valid_B: jax.Array | None) -> jax.Array:
    return loss_B if valid_B is None else jnp.where(valid_B != 0, loss_B, 0.0)
