"""NVIDIA's flash attention, through jax."""

import jax
import jax.numpy as jnp

from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.kernel import Kernel
from jaxgpt.ops.attention.scores import Scores
from jaxgpt.ops.patterns import band

WIDEST = 128
"""Head width that every generation takes; from compute capability 9 (Hopper) on it is twice that."""


class Cudnn(Kernel):
    """cuDNN's fused kernel: causal, causal windows and bidirectional, in 16 bits, grouped queries; no T×S array."""

    citation = "Dao 2023 (FlashAttention-2); NVIDIA cuDNN, fused flash attention"

    def refusal(self, case: Case) -> str | None:
        """GPU, 16 bits, unpacked rows, plain scores, bands that end at the own position."""
        limits = band(case.pattern, case.keys)
        whole = (case.keys - 1, case.keys - 1)
        if case.platform != "gpu":
            return f"cannot run on a {case.platform}; use {'splash' if case.platform == 'tpu' else 'chunked'}"
        if case.dtype not in ("bfloat16", "float16"):
            return f"cannot compute in {case.dtype}; set dtype: bfloat16 or use chunked"
        if case.numbering != "row" or case.queries != case.keys:
            return "cannot place packed documents with positions of their own, or a cache; use chunked"
        if case.segments:
            return "cannot keep packed documents apart; use chunked or block_sparse"
        if case.bias or case.soft_cap or case.dropout:
            what = "a bias" if case.bias else "a soft cap" if case.soft_cap else "dropout"
            return f"cannot apply {what} to the scores; use chunked or block_sparse"
        if limits is None or (limits[1] != 0 and limits != whole):
            kinds = "causal, a causal band, bidirectional"
            return f"cannot do pattern '{case.pattern.kind}', only {kinds}; use cudnn_parts or block_sparse"
        if case.d_head % 8 or case.d_head > _widest():
            return f"cannot do d_head {case.d_head}: it must be a multiple of 8 and at most {_widest()}; use chunked"
        return None

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention by `jax.nn.dot_product_attention`, which has cuDNN's kernel."""
        T = q_BHTK.shape[2]
        left, right = band(scores.pattern, T) or (T - 1, 0)
        o_BTHK = jax.nn.dot_product_attention(
            *(jnp.swapaxes(x, 1, 2) for x in (q_BHTK, k_BGSK, v_BGSK)),
            is_causal=right == 0,
            local_window_size=(left, 0) if right == 0 and left < T - 1 else None,
            implementation="cudnn",
        )
        return jnp.swapaxes(o_BTHK, 1, 2)


def _widest() -> int:
    capability = getattr(jax.devices()[0], "compute_capability", "0")
    return 2 * WIDEST if float(capability) >= 9 else WIDEST
