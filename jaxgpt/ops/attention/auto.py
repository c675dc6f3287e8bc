"""The kernel that picks a kernel: by backend, pattern, dtype and length, all known before anything is compiled."""

import jax

from jaxgpt.ops.attention.block_sparse.kernel import BlockSparse
from jaxgpt.ops.attention.block_sparse.plan import visited
from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.chunked import Chunked
from jaxgpt.ops.attention.cost import parts_cost, plain_cost, sparse_cost
from jaxgpt.ops.attention.cudnn import Cudnn
from jaxgpt.ops.attention.cudnn_parts.kernel import CudnnParts
from jaxgpt.ops.attention.kernel import Chooser, Kernel
from jaxgpt.ops.attention.reference import Reference
from jaxgpt.ops.attention.ring.kernel import Ring
from jaxgpt.ops.attention.scores import Scores
from jaxgpt.ops.attention.spans import Spans
from jaxgpt.ops.attention.splash import Splash

TINY, SMALL = 128**2, 256**2
"""Pairs up to which the plain kernel is taken always, and up to which it is unless block_sparse pays: our choice."""
UNROLLED = 512**2
"""Pairs up to which spans is taken on a CPU: it is faster beyond too, but unrolled longer to compile."""
SPARSE = 0.4
"""The share of pairs in visited blocks up to which visiting those alone pays on a CPU; a causal row visits half."""


class Auto(Chooser):
    """The device's own kernel where it can do the case, else the one estimated to be cheapest; when rows are short,
    reference; where devices share a row's tokens, ring. A run's provenance.json says what it chose."""

    def choose(self, case: Case) -> Kernel:
        """The kernel for a case, in the order of preference that the class tells."""
        if case.token_parts > 1:
            return Ring()
        pairs = case.queries * case.keys
        # Decoding too: cuDNN's lengths cut the end of a row, but prompts are padded at its start; and by jax's public
        # function, which wants heads within tokens, both caches would be transposed for each token.
        if case.queries == 1 or pairs <= TINY:
            return Reference()
        fused: Kernel = Splash() if case.platform == "tpu" else Cudnn()
        if fused.refusal(case) is None:
            return fused
        dense: Kernel = Reference() if pairs <= SMALL else Chunked()
        if case.platform == "cpu" and pairs <= UNROLLED and Spans().refusal(case) is None:
            dense = Spans()
        sparse, parts = BlockSparse(), CudnnParts()
        costs: list[tuple[float, Kernel]] = [(plain_cost(case.queries, case.keys), dense)]
        if sparse.refusal(case) is None:
            block = sparse.block_for(case.pattern, case.queries, case.platform)
            if case.platform != "gpu":
                return sparse if visited(case.pattern, case.queries, block) <= SPARSE else dense
            costs.append((sparse_cost(case.pattern, case.queries, block), sparse))
        if parts.refusal(case) is None:
            costs.append((parts_cost(case.pattern, case.queries), parts))
        return min(costs, key=lambda each: each[0])[1]

    def refusal(self, case: Case) -> str | None:
        """None: one of the kernels can compute the case."""
        return None

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention by the kernel that `choose` names."""
        return self.choose(case).compute(q_BHTK, k_BGSK, v_BGSK, scores, case)
