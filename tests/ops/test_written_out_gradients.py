"""The gradients that are written out, against those that autodiff makes of the formulas in 64 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops.activations import gelu, gelu_tanh, silu
from jaxgpt.ops.normalize import layer_norm, rms_norm
from jaxgpt.ops.positions import Rotary
from jaxgpt.ops.positions.rotary import plain_rates

rng = np.random.default_rng(0)
X, DY = (rng.standard_normal((3, 5, 16)) * 2 for _ in range(2))
SCALE, BIAS = 1 + rng.standard_normal(16), rng.standard_normal(16)
EPS = 1e-2


def normal_cdf(x):
    return 0.5 * (1 + jax.scipy.special.erf(x / np.sqrt(2)))


def centred(x, scale):
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + EPS) * scale


def rotary(pairing):
    return lambda x: Rotary(pairing=pairing).rotate(x[:, None], jnp.arange(5)[None])[:, 0]


def turned(halves, joined):
    """The product with unit complex numbers of pairs that `halves` gives."""

    def formula(x):
        a, b = halves(x)
        z = (a + 1j * b) * jnp.exp(1j * jnp.arange(5)[:, None] * plain_rates(10000.0, 16))
        return joined(z.real, z.imag)

    return formula


CASES = {
    "rotary half": (
        rotary("half"),
        turned(lambda x: jnp.split(x, 2, -1), lambda a, b: jnp.concatenate([a, b], -1)),
        (X,),
    ),
    "rotary interleaved": (
        rotary("interleaved"),
        turned(lambda x: (x[..., 0::2], x[..., 1::2]), lambda a, b: jnp.stack([a, b], -1).reshape(X.shape)),
        (X,),
    ),
    "gelu": (gelu, lambda x: x * normal_cdf(x), (X,)),
    "gelu_tanh": (gelu_tanh, lambda x: x / 2 * (1 + jnp.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), (X,)),
    "silu": (silu, lambda x: x / (1 + jnp.exp(-x)), (X,)),
    "layer_norm": (
        lambda x, scale, bias: layer_norm(x, scale, bias, EPS),
        lambda x, scale, bias: centred(x, scale) + bias,
        (X, SCALE, BIAS),
    ),
    "layer_norm without bias": (lambda x, scale: layer_norm(x, scale, None, EPS), centred, (X, SCALE)),
    "rms_norm": (
        lambda x, scale: rms_norm(x, scale, EPS),
        lambda x, scale: x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + EPS) * scale,
        (X, SCALE),
    ),
}


def value_and_gradients(function, operands, dy):
    def run(dy, *operands):
        out, pull = jax.vjp(function, *operands)
        return out, pull(dy)

    return jax.jit(run)(dy, *operands)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_value_and_gradient(monkeypatch, name, backend):
    """As traced for a CPU and for a GPU, whose programs differ."""
    monkeypatch.setattr("jaxgpt.ops.normalize.platform", lambda: backend)
    ours, formula, operands = CASES[name]
    with jax.enable_x64(True):
        want = value_and_gradients(formula, operands, DY)
    low = lambda x: np.float32(x)  # noqa: E731
    assert_close(value_and_gradients(ours, tuple(map(low, operands)), low(DY)), want, 2e-6)


@pytest.mark.parametrize("name", CASES)
def test_sixteen_bits_are_computed_in_thirty_two(name):
    """The gradient of a bfloat16 input is that of the same numbers in float32, rounded once."""
    ours, _, (x, *gains) = CASES[name]
    x, dy, gains = jnp.bfloat16(x), jnp.bfloat16(DY), tuple(map(np.float32, gains))
    out, grads = value_and_gradients(ours, (x, *gains), dy)
    wide_out, wide_grads = value_and_gradients(ours, (np.float32(x), *gains), np.float32(dy))
    assert out.dtype == grads[0].dtype == jnp.bfloat16
    assert_close(np.float32(out), np.float32(jnp.bfloat16(wide_out)), 1e-2)
    assert_close(np.float32(grads[0]), np.float32(jnp.bfloat16(wide_grads[0])), 1e-2)
    assert_close(grads[1:], wide_grads[1:], 1e-6)


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_statistics_are_read_behind_a_barrier_on_a_gpu(monkeypatch, name):
    ours, _, operands = CASES[name]
    for backend, barriers in (("gpu", 1), ("cpu", 0)):
        monkeypatch.setattr("jaxgpt.ops.normalize.platform", lambda backend=backend: backend)
        text = str(jax.make_jaxpr(lambda *x: jax.vjp(ours, *x)[1](DY))(*operands))
        assert text.count("optimization_barrier") == barriers


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu"])
def test_an_activation_saves_its_input_alone(name):
    ours, _, operands = CASES[name]
    saved = jax.tree.leaves(jax.vjp(ours, *map(jnp.float32, operands))[1])
    assert [leaf.shape for leaf in saved if leaf.size > 1] == [X.shape]
