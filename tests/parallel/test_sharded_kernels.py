"""Rows over one mesh axis and heads over another: our kernels run on each device alone, forward and backward."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxgpt.ops.attention import BlockSparse, Chunked, Reference, Scores, Side, Spans
from jaxgpt.ops.patterns import Causal, Fixed, Strided
from jaxgpt.parallel import Mesh

CASES = [
    (Reference(), Causal()),
    (Chunked(queries=16, keys=16), Causal()),
    (Spans(block=16), Causal()),
    (BlockSparse(block=16), Strided(stride=8)),
    (BlockSparse(block=16), Fixed(stride=8, summary=2)),
]
COLLECTIVES = ("all-gather(", "all-reduce(", "all-to-all(", "collective-permute(", "reduce-scatter(")


@pytest.mark.parametrize(("kernel", "pattern"), CASES, ids=lambda case: case.kind)
def test_nothing_crosses_between_devices(kernel, pattern):
    split = NamedSharding(Mesh(data=4, tensor=2).build(), PartitionSpec("data", "tensor"))
    x = jax.ShapeDtypeStruct((8, 4, 50, 8), np.float32, sharding=split)
    at = np.arange(50, dtype=np.int32)

    def both(q, k, v, do):
        out, pull = jax.vjp(lambda *a: kernel.attend(*a, Scores(pattern, Side(at), Side(at), numbering="row")), q, k, v)
        return out, *pull(do)

    compiled = jax.jit(both).lower(x, x, x, x).compile()
    text = compiled.as_text()
    assert not [name for name in COLLECTIVES if name in text]
    assert all(out.shard_shape(x.shape) == (2, 2, 50, 8) for out in compiled.output_shardings)
