"""The spans kernel where its program has the CPU to itself, and what it leaves out."""

import jax
import numpy as np
from close import assert_close

from jaxgpt.ops.attention import Scores, Side, Spans
from jaxgpt.ops.patterns import Banded, Causal
from jaxgpt.ops.sharding import Placement, constraining
from jaxgpt.parallel import Mesh

B, H, T, K = 4, 2, 16, 8
AT = np.arange(T, dtype=np.int32)
ALONE = Placement(Mesh().build(jax.devices()[:1]), lambda path, shape: None)


def programs(kernel, scores):
    """Output and gradients for (q, k, v, do), traced for nobody knows what and for one device."""

    def both(q, k, v, do):
        out, pull = jax.vjp(lambda *x: kernel.attend(*x, scores), q, k, v)
        return out, *pull(do)

    def alone(*arrays):
        with constraining(ALONE):
            return both(*arrays)

    return jax.jit(both), jax.jit(alone)


def draw(batch):
    return np.random.default_rng(0).standard_normal((4, batch, H, T, K)).astype(np.float32)


def test_halves_of_the_batch_apart_are_the_batch():
    packed = np.sort(np.random.default_rng(1).integers(1, 4, (B, T)).astype(np.int32), axis=1)
    shifted = (AT + np.arange(B)[:, None]).astype(np.int32)
    for side in (Side(AT), Side(AT, packed), Side(shifted, packed)):
        whole, halves = programs(Spans(block=8), Scores(Causal(), side, side, numbering="row"))
        assert_close(halves(*draw(B)), whole(*draw(B)))


def test_an_odd_batch_stays_whole():
    whole, alone = programs(Spans(block=8), Scores(Causal(), Side(AT), Side(AT), numbering="row"))
    assert alone.lower(*draw(3)).as_text() == whole.lower(*draw(3)).as_text().replace("jit_both", "jit_alone")


def test_keys_outside_the_span_are_not_computed():
    """A window of 4 in blocks of 4 sees two blocks of keys: the arrays of scores are 4 wide, then 8."""
    whole, _ = programs(Spans(block=4), Scores(Banded(window=4), Side(AT), Side(AT), numbering="row"))
    text = whole.lower(*draw(B)).as_text()
    assert f"{B}x{H}x4x8xf32" in text
    assert not any(f"{B}x{H}x4x{keys}xf32" in text for keys in (12, 16))
