"""Cross-entropy of classes and the focal loss: any γ, no NaN, and at 0 the plain loss to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops.class_losses import class_cross_entropy
from jaxgpt.ops.metrics.average_precision import average_precision
from jaxgpt.ops.metrics.calibration import calibration_error, probabilities

rng = np.random.default_rng(0)
LOGITS, LABEL = jnp.asarray(rng.standard_normal((6, 3)) * 3, jnp.float32), jnp.asarray(rng.integers(0, 3, 6))


def focal(x, gamma):
    """Of one row with logits (0, x) and label 1: the loss and its gradient by x."""
    one = lambda x: class_cross_entropy(jnp.stack([0 * x, x])[None], jnp.ones(1, int), focal_gamma=gamma)[0][0]  # noqa: E731
    return jax.value_and_grad(one)(jnp.float32(x))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.7])
def test_it_is_the_formula_in_float64(gamma):
    x = np.asarray(LOGITS, np.float64)
    p = (np.exp(x) / np.exp(x).sum(1, keepdims=True))[np.arange(6), LABEL]
    loss, nll = class_cross_entropy(LOGITS, LABEL, focal_gamma=gamma)
    assert_close(loss, -((1 - p) ** gamma) * np.log(p))
    assert_close(nll, -np.log(p))


def test_of_two_classes_it_is_the_sigmoid_form():
    """torchvision's `sigmoid_focal_loss` without alpha: (1 - p)^γ · BCE; p .9 weighs .01 at γ 2."""
    for x in (-3.0, -0.5, 0.0, 2.0):
        p = 1 / (1 + np.exp(-x))
        assert_close(focal(x, 2.0)[0], (1 - p) ** 2 * -np.log(p))
    assert_close(focal(np.log(9), 2.0)[0], 0.01 * -np.log(0.9))


def test_at_gamma_0_it_is_the_cross_entropy_to_the_bit():
    """Compiled in, too, as where γ is an input of the program."""
    plain = jax.value_and_grad(lambda x: class_cross_entropy(x, LABEL, 0.1)[0].sum())(LOGITS)
    traced = jax.jit(jax.value_and_grad(lambda x, g: class_cross_entropy(x, LABEL, 0.1, g)[0].sum()))
    jax.tree.map(np.testing.assert_array_equal, plain, jax.jit(lambda x: traced(x, 0.0))(LOGITS))


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0, 5.0])
def test_saturated_logits_have_finite_gradients(gamma):
    """A power of 1 - p, which is 0 there, has the gradient NaN for γ < 1."""
    right, wrong = focal(200.0, gamma), focal(-200.0, gamma)
    assert np.isfinite(right).all() and np.abs(right).max() < 1e-6
    assert_close(np.array(wrong), np.array([200.0, -1.0]), 1e-5)


def test_smoothing_spreads_over_the_classes():
    loss, nll = class_cross_entropy(LOGITS, LABEL, label_smoothing=0.3)
    log_p = jax.nn.log_softmax(LOGITS)
    assert_close(loss, 0.7 * nll - 0.3 * log_p.mean(1))


def test_on_rare_positives_it_orders_alike_and_says_less_than_it_knows():
    """Two Gaussians at 1:100, by logistic regression: the same order of rows, the same average precision within noise,
    and probabilities that are shrunk, so that the plain loss is the better calibrated."""
    positive = np.arange(4040) % 101 == 0
    x = rng.standard_normal(4040) + 2.5 * positive
    features, label = jnp.stack([x, np.ones_like(x)], 1).astype(jnp.float32), jnp.asarray(positive.astype(int))

    @jax.jit
    def fitted(gamma):
        logits = lambda w: jnp.stack([jnp.zeros(4040), features @ w], 1)  # noqa: E731
        grad = jax.grad(lambda w: class_cross_entropy(logits(w), label, focal_gamma=gamma)[0].mean())
        step = lambda _, w: w - jnp.linalg.solve(jax.jacobian(grad)(w) + 1e-4 * jnp.eye(2), grad(w))  # noqa: E731
        return logits(jax.lax.fori_loop(0, 20, step, jnp.array([1.0, -3.0])))

    plain, focal = (np.asarray(fitted(gamma)) for gamma in (0.0, 2.0))
    assert average_precision(plain[:, 1], positive) == pytest.approx(average_precision(focal[:, 1], positive), abs=1e-6)
    assert calibration_error(probabilities(plain), positive) < 0.01
    assert calibration_error(probabilities(focal), positive) > 5 * calibration_error(probabilities(plain), positive)
    assert np.median(probabilities(focal).max(1)) < np.median(probabilities(plain).max(1)) - 0.05


@pytest.mark.parity
@pytest.mark.parametrize("gamma", [1.0, 2.0, 5.0])
def test_torchs_formula_in_value_and_gradient(gamma):
    """torchvision's `sigmoid_focal_loss` as its source has it, whose alpha is a class weight here."""
    torch = pytest.importorskip("torch")
    x = torch.linspace(-8, 8, 33, dtype=torch.float64, requires_grad=True)
    p = torch.sigmoid(x)
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(x, torch.ones_like(x), reduction="none")
    theirs = theirs * (1 - p) ** gamma
    theirs.sum().backward()
    ours = np.array([focal(value, gamma) for value in x.tolist()]).T
    assert_close(ours, np.stack([theirs.detach().numpy(), x.grad.numpy()]))
