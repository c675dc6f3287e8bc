"""The kernel that picks a kernel: by backend, pattern, dtype and length, all known before anything is compiled."""

import jax

from jaxgpt.ops.attention.block_sparse.kernel import BlockSparse
from jaxgpt.ops.attention.block_sparse.plan import visited
from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.chunked import Chunked
from jaxgpt.ops.attention.cudnn import Cudnn
from jaxgpt.ops.attention.kernel import Chooser, Kernel
from jaxgpt.ops.attention.reference import Reference
from jaxgpt.ops.attention.ring.kernel import Ring
from jaxgpt.ops.attention.scores import Scores
from jaxgpt.ops.attention.splash import Splash

TINY, SMALL = 128**2, 256**2
"""Pairs up to which the plain kernel is taken always, and up to which it is unless block_sparse pays: our choice."""
SPARSE = 0.4
"""The share of pairs in visited blocks up to which visiting those alone pays; a causal row visits half."""


class Auto(Chooser):
    """The device's own kernel where it can do the case, else block_sparse where that pays, else chunked; when rows are
    short, reference; where devices share a row's tokens, ring. A run's provenance.json says what it chose."""

    def choose(self, case: Case) -> Kernel:
        """The kernel for a case, in the order of preference that the class tells."""
        if case.token_parts > 1:
            return Ring()
        pairs = case.queries * case.keys
        if case.queries == 1 or pairs <= TINY:
            return Reference()
        fused: Kernel = Splash() if case.platform == "tpu" else Cudnn()
        if fused.refusal(case) is None:
            return fused
        sparse = BlockSparse()
        if sparse.refusal(case) is None:
            block = sparse.block_for(case.pattern, case.queries, case.platform)
            if visited(case.pattern, case.queries, block) <= SPARSE:
                return sparse
        return Reference() if pairs <= SMALL else Chunked()

    def refusal(self, case: Case) -> str | None:
        """None: one of the kernels can compute the case."""
        return None

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention by the kernel that `choose` names."""
        return self.choose(case).compute(q_BHTK, k_BGSK, v_BGSK, scores, case)
