"""The kernel seam: what computes softmax(QKᵀ)V for a pattern.

B batch, T queries, S keys, H query heads, G key/value heads (H a multiple of G), K head width.
"""

from abc import abstractmethod

import jax
import jax.numpy as jnp

from jaxgpt.ops.attention.case import Case, case_of_call
from jaxgpt.ops.attention.scores import Scores
from jaxgpt.ops.patterns import Pattern
from jaxgpt.spec import ConfigError, Seam


class Kernel(Seam, seam="kernel"):
    """Base of all attention kernels."""

    @abstractmethod
    def refusal(self, case: Case) -> str | None:
        """Why this kernel cannot compute `case` exactly, and which can: `cannot ...; use chunked`. None: it can."""

    @abstractmethod
    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """What `attend` returns, for heads of one pattern; `case` is that of the call, and is not refused."""

    def attend(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores) -> jax.Array:
        """Returns (B, H, T, K) in the queries' dtype. A query that sees no key gets zeros.

        Raises ConfigError, naming a kernel that can, for a case this kernel does not compute exactly.
        """
        parts = scores.pattern.shares
        H, G = q_BHTK.shape[1], k_BGSK.shape[1]
        if G % len(parts):  # a share's heads would split a group: give every query head its own keys and values
            k_BGSK, v_BGSK = (jnp.repeat(x, H // G, axis=1) for x in (k_BGSK, v_BGSK))
        out = []
        for i, part in enumerate(parts):
            q, k, v = (_share(x, 1, i, len(parts)) for x in (q_BHTK, k_BGSK, v_BGSK))
            own = scores if len(parts) == 1 else _share_of_scores(scores, part, i, len(parts))
            case = case_of_call(q, k, own)
            self.check(case)
            out.append(self.compute(q, k, v, own, case))
        return out[0] if len(out) == 1 else jnp.concatenate(out, axis=1)

    def check(self, case: Case) -> None:
        """Raises ConfigError when `case` is refused."""
        why = self.refusal(case)
        if why is not None:
            raise ConfigError(f"exec.kernel: {self.kind} {why}")


class Chooser(Kernel):
    """A kernel that leaves the work to another."""

    @abstractmethod
    def choose(self, case: Case) -> Kernel:
        """The kernel for a case, all of one pattern (not per_head)."""


def _share(x: jax.Array, axis: int, i: int, n: int) -> jax.Array:
    """The i-th of n equal parts."""
    size = x.shape[axis] // n
    return jax.lax.slice_in_dim(x, i * size, (i + 1) * size, axis=axis)


def _share_of_scores(scores: Scores, pattern: Pattern, i: int, n: int) -> Scores:
    """The scores of the i-th of n shares of the heads, which has a pattern and draws of its own."""
    table_H, dropout = scores.table_H, scores.dropout
    if dropout is not None:
        dropout = dropout.folded(i)
    return scores._replace(
        pattern=pattern, table_H=None if table_H is None else _share(table_H, 0, i, n), dropout=dropout
    )
