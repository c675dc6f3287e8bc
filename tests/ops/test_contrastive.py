"""Each loss against loops in float64, in value and gradient; what is masked out is out, and nothing else."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxgpt.ops.contrastive import alignment, angular, info_nce, matryoshka, nt_xent, triplet, uniformity

B, D, N = 8, 6, 2
rng = np.random.default_rng(0)
ANCHOR, POSITIVE = rng.standard_normal((2, B, D))
POSITIVE += ANCHOR
NEGATIVE = rng.standard_normal((N, B, D)) * np.exp(rng.standard_normal((N, B, 1)))
ALL = ANCHOR, POSITIVE, NEGATIVE
SAME = np.zeros((B, B), bool)
SAME[[0, 3, 3], [3, 0, 3]] = True
VALID = np.array([1, 1, 1, 0, 1, 1, 0, 1])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def plain_info_nce(a, p, n=(), temperature=0.05, hard_negative_weight=0.0, symmetric=False):
    a, p, n = unit(a), unit(p), [unit(group) for group in n]
    loss = np.zeros(len(a))
    for i in range(len(a)):
        logits = [a[i] @ p[j] / temperature for j in range(len(a))]
        logits += [a[i] @ g[j] / temperature + (i == j) * hard_negative_weight for g in n for j in range(len(a))]
        loss[i] = np.log(np.sum(np.exp(logits))) - logits[i]
    if symmetric:
        loss = (loss + plain_info_nce(p, a, temperature=temperature)) / 2
    return loss


def plain_nt_xent(a, b, temperature):
    x, rows = unit(np.concatenate([a, b])), len(a)
    loss = np.zeros(2 * rows)
    for i in range(2 * rows):
        z = sum(np.exp(x[i] @ x[k] / temperature) for k in range(2 * rows) if k != i)
        loss[i] = -np.log(np.exp(x[i] @ x[(i + rows) % (2 * rows)] / temperature) / z)
    return (loss[:rows] + loss[rows:]) / 2


def plain_triplet(a, p, n=None, margin=1.0, distance="euclidean"):
    def apart(x, y):
        return np.linalg.norm(x - y) if distance == "euclidean" else 1 - unit(x) @ unit(y)

    loss = np.zeros(len(a))
    for i in range(len(a)):
        other = min(apart(a[i], p[j]) for j in range(len(a)) if j != i) if n is None else apart(a[i], n[i])
        loss[i] = max(0, apart(a[i], p[i]) - other + margin)
    return loss


def plain_angular(a, p, alpha):
    """By distances: |a − p|² − 4 tan²α |n − (a + p)/2|² is f but for what vectors of length 1 add, 2 − 6 tan²α."""
    a, p, square = unit(a), unit(p), np.tan(np.deg2rad(alpha)) ** 2
    loss = np.zeros(len(a))
    for i in range(len(a)):
        f = [
            np.sum((a[i] - p[i]) ** 2) - 4 * square * np.sum((p[j] - (a[i] + p[i]) / 2) ** 2) - 2 + 6 * square
            for j in range(len(a))
            if j != i
        ]
        loss[i] = np.log(1 + np.sum(np.exp(f)))
    return loss


def both(ours, plain, **options):
    return partial(ours, **options), partial(plain, **options)


def first(loss):
    """Of anchors, positives and the first of the hard negatives."""
    return lambda a, p, n, **options: loss(a, p, n[0], **options)


LOSSES = {  # ours, the same in loops, how many of ALL they take
    "pairs": (info_nce, plain_info_nce, 2),
    "symmetric": (*both(info_nce, plain_info_nce, temperature=0.2, symmetric=True), 2),
    "hard": (*both(info_nce, plain_info_nce, temperature=0.3, symmetric=True, hard_negative_weight=2.0), 3),
    "nt_xent": (*both(nt_xent, plain_nt_xent, temperature=0.1), 2),
    "euclidean": (first(triplet), first(plain_triplet), 3),
    "cosine": (*both(first(triplet), first(plain_triplet), margin=0.3, distance="cosine"), 3),
    "hardest euclidean": (triplet, plain_triplet, 2),
    "hardest cosine": (*both(triplet, plain_triplet, margin=0.5, distance="cosine"), 2),
    "angular": (partial(angular, alpha_degrees=36.0), partial(plain_angular, alpha=36.0), 2),
}


@cache
def graded(name):
    """Losses, and the gradient of their sum weighted by row, of float32 embeddings."""
    loss, _, inputs = LOSSES[name]

    def weighted(embeddings, weight_B):
        loss_B = loss(*embeddings)
        return (loss_B * weight_B).sum(), loss_B

    compiled = jax.jit(jax.value_and_grad(weighted, has_aux=True))

    def run(embeddings, weight_B):
        (_, loss_B), grads = compiled(embeddings, weight_B)
        return loss_B, grads

    return run, tuple(x.astype(np.float32) for x in ALL[:inputs])


WEIGHT = rng.uniform(0.5, 1.5, B).astype(np.float32)


@pytest.mark.parametrize("name", LOSSES)
def test_equals_loops_in_value_and_gradient(name):
    run, embeddings = graded(name)
    loss, grads = run(embeddings, WEIGHT)
    plain = LOSSES[name][1]
    wide = [x.astype(np.float64) for x in embeddings]
    assert loss.shape == (B,) and loss.dtype == np.float32
    assert_close(loss, plain(*wide), 2e-6)
    for step in np.random.default_rng(1).standard_normal((3, len(wide), N, B, D)) * 1e-6:
        steps = [s if x.ndim == 3 else s[0] for s, x in zip(step, wide, strict=True)]
        ahead, behind = (plain(*[x + sign * s for x, s in zip(wide, steps, strict=True)]) for sign in (1, -1))
        terms = np.concatenate([np.ravel(g * s) for g, s in zip(grads, steps, strict=True)])
        assert_close(terms.sum(), WEIGHT @ (ahead - behind) / 2, scale=np.abs(terms).sum())


@pytest.mark.parametrize("name", LOSSES)
def test_permuted_rows_permute_losses(name):
    run, embeddings = graded(name)
    order = np.array([3, 0, 7, 1, 2, 6, 5, 4])
    loss, _ = run(embeddings, WEIGHT)
    permuted, _ = run(tuple(x[..., order, :] for x in embeddings), WEIGHT)
    assert_close(permuted, loss[order], 2e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_eight_devices_equal_one(name):
    run, embeddings = graded(name)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def put(x):
        rows = PartitionSpec(*[None] * (x.ndim - 2), "data")
        return jax.device_put(x, NamedSharding(mesh, rows))

    want_loss, want_grads = run(embeddings, WEIGHT)
    loss, grads = run(jax.tree.map(put, embeddings), put(WEIGHT))
    assert len(grads[0].sharding.device_set) == 8
    assert_close((loss, grads), (want_loss, want_grads), 2e-6)


def test_orthonormal_rows():
    """A row's positive is itself and all else is at a right angle: each loss is known."""
    e = np.exp
    want = {
        "info_nce": np.log(1 + (B - 1) * e(-2)),
        "hard": np.log(1 + 2 * (B - 1) * e(-2) + e(3 - 4)),
        "nt_xent": np.log(1 + 2 * (B - 1) * e(-2)),
        "euclidean": 2 - 2**0.5,
        "cosine": 1.0,
        "angular": np.log(1 + (B - 1) * e(-4)),
        "aligned": 0.0,
        "opposed": 4.0,
        "uniformity": -4.0,
    }

    @jax.jit
    def all_of(x):
        return {
            "info_nce": info_nce(x, 2 * x, temperature=0.5),
            "hard": info_nce(3 * x, x, -x[None], 0.5, hard_negative_weight=3.0),
            "nt_xent": nt_xent(x, 2 * x, 0.5),
            "euclidean": triplet(x, x, margin=2.0),
            "cosine": triplet(x, 2 * x, margin=2.0, distance="cosine"),
            "angular": angular(x, 2 * x, 45.0),
            "aligned": alignment(x, 2 * x),
            "opposed": alignment(x, -x),
            "uniformity": uniformity(5 * x),
        }

    for name, got in all_of(np.eye(B)).items():
        assert_close({name: got}, {name: np.full(got.shape, want[name])}, scale=1.0)


def test_a_row_alone_has_no_loss():
    @jax.jit
    def alone(x):
        return info_nce(x, -x), triplet(x, -x), angular(x, -x, 45.0)

    assert [float(loss[0]) for loss in alone(np.ones((1, D)))] == [0, 0, 0]


def test_a_distance_of_zero_has_a_gradient():
    grad = jax.jit(jax.grad(lambda x: triplet(x, ANCHOR, NEGATIVE[0], 100.0).sum()))(ANCHOR)
    assert np.isfinite(grad).all() and np.abs(grad).any()


def test_symmetric_is_the_mean_of_both_ways_and_so_are_its_masks():
    """Backward there are no hard negatives, and anchor j is out for positive i where positive j is for anchor i."""
    mask = np.triu(np.ones((B, B), bool))

    @jax.jit
    def ways(a, p, n):
        both = info_nce(a, p, n, symmetric=True, same_BB=mask)
        return both, info_nce(a, p, n, same_BB=mask), info_nce(p, a, same_BB=mask.T)

    both, forward, backward = ways(*ALL)
    assert_close(both, (forward + backward) / 2, 1e-6)


@jax.jit
def weighted(temperature, weight):
    return info_nce(*ALL, temperature, hard_negative_weight=weight)


def test_hard_negative_weight_is_a_logit_of_the_own_column():
    """e^loss − 1 is the sum of a row's negatives over its positive, in which one term grows e^weight-fold."""
    plain, heavy = np.expm1(weighted(0.3, 0.0)), np.expm1(weighted(0.3, 2.0))
    own = np.exp((np.sum(unit(ANCHOR) * unit(NEGATIVE), -1) - np.sum(unit(ANCHOR) * unit(POSITIVE), -1)) / 0.3).sum(0)
    assert_close(heavy - plain, own * (np.exp(2) - 1))


def test_temperature_may_be_learnt():
    slope = jax.jacfwd(weighted)(0.3, 0.0)
    ahead, behind = (plain_info_nce(*ALL, temperature=0.3 + step) for step in (1e-5, -1e-5))
    assert_close(slope, (ahead - behind) / 2e-5)


@jax.jit
def reached(embeddings, margin, same_BB, valid_B):
    """Which embeddings (1 + 1 + N, B, D) each row's loss looks at, (B, 1 + 1 + N, B)."""

    def loss(x):
        mask = {"false_negative_margin": margin, "same_BB": same_BB, "valid_B": valid_B}
        return info_nce(x[0], x[1], x[2:], 1.0, **mask)

    return jnp.any(jax.jacrev(loss)(embeddings) != 0, -1)


def test_masks_leave_out_what_they_should_and_nothing_else():
    embeddings = np.stack([ANCHOR, POSITIVE, *NEGATIVE])
    eye, every, rows = np.eye(B, dtype=bool), np.ones(B, int), VALID.astype(bool)
    cosine = np.einsum("bd,kcd->bkc", unit(ANCHOR), unit(embeddings[1:]))
    own = eye[:, None] & (np.arange(1 + N) == 0)[:, None]
    near = (cosine > np.diagonal(cosine[:, 0])[:, None, None] + 0.1) & ~own
    assert near[:, 0].any() and near[:, 1:].any() and not near.all(), "the fixture must have some"

    def seen(margin=9.0, same=eye, valid=every):
        found = np.asarray(reached(embeddings, margin, same, valid))
        return found[:, 0], found[:, 1:]

    for got, anchors, columns in (
        (seen(), eye, np.ones_like(own)),
        (seen(margin=0.1), eye, ~near),
        (seen(same=SAME), eye, ~((SAME & ~eye)[:, None] & (np.arange(1 + N) == 0)[:, None])),
        (seen(valid=VALID), eye & rows, rows[:, None, None] & rows & np.ones_like(own)),
        (seen(margin=-3.0), np.zeros_like(eye), np.zeros_like(own)),  # the positive alone is left: the loss is 0
    ):
        np.testing.assert_array_equal(got[0], anchors)
        np.testing.assert_array_equal(got[1], columns)


@pytest.mark.parametrize("name", ["hard", "nt_xent", "cosine", "hardest euclidean", "angular"])
def test_rows_that_are_not_valid_are_not_there(name):
    ours, plain, inputs = LOSSES[name]
    rows = VALID.astype(bool)
    spoiled = tuple(np.where(rows[:, None], x, np.nan) for x in ALL[:inputs])

    @jax.jit
    def graded(embeddings):
        def total(x):
            loss_B = ours(*x, valid_B=VALID)
            return loss_B.sum(), loss_B

        return jax.grad(total, has_aux=True)(embeddings)

    grads, losses = graded(spoiled)
    assert_close(losses[rows], plain(*(x[..., rows, :] for x in ALL[:inputs])), 2e-6)
    assert not losses[~rows].any()
    for grad in grads:
        assert np.isfinite(grad).all() and grad[..., rows, :].any() and not grad[..., ~rows, :].any()


def test_matryoshka_is_the_weighted_sum_over_prefixes():
    @jax.jit
    def pairs(a, p, n):
        short = [x[..., :3] for x in (a, p, n)]
        nested = matryoshka(info_nce, [D, 3], [1.0, 0.5])(a, p, n, temperature=0.2)
        return [
            (matryoshka(info_nce, [D])(a, p, n), info_nce(a, p, n)),
            (nested, info_nce(a, p, n, 0.2) + 0.5 * info_nce(*short, 0.2)),
            (matryoshka(triplet, [D, 3])(a, p, None), triplet(a, p) + triplet(*short[:2])),
        ]

    for got, want in pairs(*ALL):
        assert_close(got, want, 1e-6)


def test_alignment_and_uniformity_equal_loops():
    a, b = unit(ANCHOR), unit(POSITIVE)
    apart = np.mean([np.sum((x - y) ** 2) for x, y in zip(a, b, strict=True)])
    assert jax.jit(alignment)(ANCHOR, POSITIVE) == pytest.approx(apart, rel=1e-5)
    graded = jax.jit(jax.value_and_grad(uniformity))

    def plain(x, t):
        x = unit(x)
        return np.log(np.mean([np.exp(-t * np.sum((x[i] - x[j]) ** 2)) for i in range(B) for j in range(i)]))

    for t in (2.0, 3.0):
        value, grad = graded(ANCHOR, t)
        assert value == pytest.approx(plain(ANCHOR, t), rel=1e-5)
        step = np.random.default_rng(1).standard_normal((B, D))
        along = (plain(ANCHOR + 1e-6 * step, t) - plain(ANCHOR - 1e-6 * step, t)) / 2e-6
        assert_close(np.sum(grad * step), along, scale=np.abs(grad * step).sum())


def test_half_precision_is_read_in_float32():
    half = [jnp.asarray(x, jnp.bfloat16) for x in ALL]
    losses = jax.jit(lambda a, p, n: (info_nce(a, p, n), triplet(a, p), angular(a, p, 45.0), nt_xent(a, p, 0.1)))
    for got, want in zip(losses(*half), losses(*[np.asarray(x, np.float32) for x in half]), strict=True):
        assert got.dtype == np.float32
        assert_close(got, want, 1e-6)
