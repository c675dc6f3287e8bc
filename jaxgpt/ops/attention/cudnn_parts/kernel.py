"""A pattern as a few calls of cuDNN's kernel over tokens put in another order, joined by their log-sums.

cuDNN knows causal rows, causal windows and no mask at all, at several times the speed of anything written in plain jax.
Many patterns are made of nothing else (patterns.calls): strided attention is a window on the row and causal columns;
fixed attention is causal blocks and rectangles of summaries. Backward, every call is given the joint output and the
joint log-sums, which makes what it adds to the gradients exact (Liu et al. 2023, section 3).

B batch, T tokens, H query heads, G key/value heads, K head width.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.cudnn import Cudnn
from jaxgpt.ops.attention.cudnn_parts import fused
from jaxgpt.ops.attention.kernel import Kernel
from jaxgpt.ops.attention.scores import Scores
from jaxgpt.ops.attention.split import on_own_heads
from jaxgpt.ops.attention.tile import FLOOR
from jaxgpt.ops.patterns import Call, Causal, Tokens, calls


class CudnnParts(Kernel):
    """Several calls of cuDNN's kernel, joined: strided, fixed, dilated, sinks, windows to both sides, prefixes."""

    citation = "Child et al. 2019, section 4; Liu et al. 2023 (Ring Attention), section 3; Dao 2023 (FlashAttention-2)"
    interpret: bool = False
    """Writes the calls out on any backend, in memory quadratic in their lengths: for tests."""

    def refusal(self, case: Case) -> str | None:
        """What cuDNN refuses, but for the pattern, which must fall apart into calls that it knows."""
        if self.interpret:
            case = case._replace(platform="gpu", dtype="bfloat16", d_head=64)
        elif case.platform == "gpu" and (name := fused.missing()) is not None:
            return f"cannot call cuDNN through jax {jax.__version__}, which has no {name}; use block_sparse"
        why = Cudnn().refusal(case._replace(pattern=Causal()))
        if why is not None:
            return why
        if case.token_parts > 1:
            return "cannot compute where devices share a row's tokens; use ring"
        if calls(case.pattern, case.keys) is None:
            return f"cannot make pattern '{case.pattern.kind}' of causal, windowed and whole calls; use block_sparse"
        return None

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention by the calls that the pattern is made of."""
        parts = calls(scores.pattern, case.keys)
        assert parts is not None, "the case was refused"
        static = _Static(parts, not self.interpret)

        def run(*values: jax.Array) -> jax.Array:
            return jnp.swapaxes(_attend(static, *(jnp.swapaxes(x, 1, 2) for x in values)), 1, 2)

        return on_own_heads(run, q_BHTK, k_BGSK, v_BGSK)


class _Static(NamedTuple):
    """Everything that is known while compiling."""

    calls: tuple[Call, ...]
    fused: bool


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(static: _Static, q_BTHK: jax.Array, k_BTGK: jax.Array, v_BTGK: jax.Array) -> jax.Array:
    return _forward(static, q_BTHK, k_BTGK, v_BTGK)[0]


def _forward(static: _Static, q_BTHK: jax.Array, k_BTGK: jax.Array, v_BTGK: jax.Array) -> tuple[jax.Array, Any]:
    outs, logs = [], []
    for call in static.calls:
        taken = _take(call.queries, q_BTHK), _take(call.keys, k_BTGK), _take(call.keys, v_BTGK)
        out, log_sum = fused.forward(*taken, call.mask, static.fused)
        outs.append(_put(call.queries, out, q_BTHK))
        log_BTH = _put(call.queries, jnp.swapaxes(log_sum, 1, 2), q_BTHK[..., 0])
        logs.append(jnp.where(_present(call.queries, q_BTHK.shape[1]), log_BTH, FLOOR))
    if len(outs) == 1:
        out, log_sum = outs[0], logs[0]
    else:
        log_sum = jax.nn.logsumexp(jnp.stack(logs), 0)
        # A row that no call sees keeps its zeros: its weights are whatever FLOOR - FLOOR gives, times 0.
        shares = [part * jnp.exp(log - log_sum)[..., None] for part, log in zip(outs, logs, strict=True)]
        out = sum(shares[1:], shares[0]).astype(q_BTHK.dtype)
    return out, (q_BTHK, k_BTGK, v_BTGK, out, log_sum)


def _backward(static: _Static, saved: Any, do_BTHK: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    q, k, v, out, log_BTH = saved
    sums: list[Any] = [0.0, 0.0, 0.0]
    for call in static.calls:
        of_queries, of_keys = partial(_take, call.queries), partial(_take, call.keys)
        log_sum = jnp.swapaxes(of_queries(log_BTH), 1, 2)
        taken = of_queries(q), of_keys(k), of_keys(v), of_queries(out), log_sum, of_queries(do_BTHK)
        new = fused.backward(*taken, call.mask, static.fused)
        places = (call.queries, q), (call.keys, k), (call.keys, v)
        for i, (tokens, whole) in enumerate(places):
            sums[i] = sums[i] + _put(tokens, new[i], whole).astype(jnp.float32)
    return tuple(x.astype(whole.dtype) for x, whole in zip(sums, (q, k, v), strict=True))  # type: ignore[return-value]


_attend.defvjp(_forward, _backward, optimize_remat=True)


def _take(tokens: Tokens, x_BTX: jax.Array) -> jax.Array:
    return tokens.take(x_BTX, jnp.pad, jnp.flip)


def _put(tokens: Tokens, x: jax.Array, like: jax.Array) -> jax.Array:
    """What `_take` took, back in its place in an array of the shape of `like`, zeros elsewhere; padding is dropped."""
    whole = jax.ShapeDtypeStruct(like.shape, x.dtype)
    return jax.linear_transpose(partial(_take, tokens), whole)(x)[0]


def _present(tokens: Tokens, length: int) -> np.ndarray:
    """bool (T, 1): which tokens of a row are taken."""
    return np.isin(np.arange(length), tokens.positions(length))[:, None]
