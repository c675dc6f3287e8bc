"""cuDNN's kernel needs a GPU; that we ask jax for the right thing does not: its XLA path takes the same arguments."""

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops.attention import Cudnn, Reference, Scores, Side, case_of_call
from jaxgpt.ops.patterns import Banded, Bidirectional, Causal


@pytest.mark.parametrize("pattern", [Causal(), Banded(window=3), Banded(window=12), Bidirectional()], ids=str)
def test_the_call_means_the_pattern(pattern, monkeypatch):
    plain = jax.nn.dot_product_attention
    asked = []

    def on_xla(*arrays, implementation, **options):
        asked.append(implementation)
        return plain(*arrays, implementation="xla", **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", on_xla)
    rng, at = np.random.default_rng(0), np.arange(12, dtype=np.int32)
    q, k, v = (rng.standard_normal((2, heads, 12, 8)).astype(np.float32) for heads in (4, 2, 2))
    scores = Scores(pattern, Side(at), Side(at), numbering="row")
    assert_close(Cudnn().compute(q, k, v, scores, case_of_call(q, k, scores)), Reference().attend(q, k, v, scores))
    assert asked == ["cudnn"]
