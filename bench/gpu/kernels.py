"""Every attention kernel that does not refuse, forward and gradients, against float64 in numpy.

4 query heads over 2 of keys and values, width 64; 2,048 tokens and a length that no stride divides; patterns of a row,
and causal and banded rows of packed documents. Operands have bfloat16's bits in both dtypes, so one reference serves.
"""

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gpu.cases import kernels, more_patterns, packed, patterns, row
from gpu.part import Report, Wrong
from jaxgpt.ops.attention import Kernel, Scores, case_of_call

GOALS = {"float32": 1e-4, "bfloat16": 2e-2}
SLOW = ("reference", "chunked")
"""Compiled and run last."""
Arrays = tuple[Any, ...]


class Job(NamedTuple):
    """One kernel on one case."""

    name: str
    kernel: Kernel
    scores: Scores
    arrays: Arrays
    want: Callable[[], Arrays]
    goal: float


def both(kernel: Kernel, scores: Scores) -> Callable[..., Any]:
    """(q, k, v, do) -> output and gradients."""

    def run(q: Any, k: Any, v: Any, do: Any) -> Any:
        out, pull = jax.vjp(lambda *x: kernel.attend(*x, scores), q, k, v)
        return (out, *pull(do))

    return run


def exact(scores: Scores, arrays: Arrays) -> Arrays:
    """The same in numpy, float64, a head at a time; B 1."""
    q, k, v, do = (np.asarray(x.astype(jnp.float32), np.float64)[0] for x in arrays)
    at = np.reshape(scores.q.pos, -1)
    mask = scores.pattern.allows(at[:, None], at[None, :])
    if scores.q.segment is not None:
        mask = mask & (scores.q.segment[0][:, None] == scores.q.segment[0][None, :])
    group, scale = q.shape[0] // k.shape[0], q.shape[2] ** -0.5
    out, dq, dk, dv = (np.zeros_like(x) for x in (q, q, k, v))
    for head in range(q.shape[0]):
        of = head // group
        w = np.where(mask, q[head] @ k[of].T * scale, -np.inf)
        w = np.exp(w - w.max(-1, keepdims=True))
        w /= w.sum(-1, keepdims=True)
        dw = do[head] @ v[of].T
        ds = w * (dw - (w * dw).sum(-1, keepdims=True)) * scale
        out[head], dq[head] = w @ v[of], ds @ k[of]
        dk[of] += ds.T @ q[head]
        dv[of] += w.T @ do[head]
    return out, dq, dk, dv


def cases(small: bool) -> Iterator[tuple[str, Scores, int]]:
    whole, odd = (96, 83) if small else (2048, 1999)
    known = patterns(small)
    for name, pattern in known.items():
        yield name, row(pattern, whole), whole
    for name in ("dense", "band"):
        yield f"documents_{name}", packed(known[name], whole), whole
    for name, pattern in known.items():
        yield f"{name}_{odd}", row(pattern, odd), odd
    for name, pattern in more_patterns(small).items():
        yield name, row(pattern, whole), whole


def jobs(small: bool) -> Iterator[Job]:
    rng = np.random.default_rng(0)
    for name, scores, length in cases(small):
        shapes = [(1, heads, length, 16 if small else 64) for heads in (4, 2, 2, 4)]
        narrow = tuple(jnp.asarray(rng.standard_normal(shape), jnp.bfloat16) for shape in shapes)
        want = cache(partial(exact, scores, narrow))
        for dtype, goal in GOALS.items():
            q, k, *rest = (x.astype(dtype) for x in narrow)
            for kind, kernel in kernels().items():
                if kernel.refusal(case_of_call(q, k, scores)) is None:
                    yield Job(f"error_{kind}_{name}_{dtype}", kernel, scores, (q, k, *rest), want, goal)


def compiled(job: Job) -> Any:
    # Nothing is timed here, and tuning every product of a program would take most of the part's time.
    untuned = {"xla_gpu_autotune_level": 0}
    with jax.default_matmul_precision("highest"):
        return jax.jit(both(job.kernel, job.scores), compiler_options=untuned).lower(*job.arrays).compile()


def error_of(got: Arrays, want: Arrays) -> float:
    """The largest error of any array, as a share of that array's largest value; B 1."""
    pairs = [(np.asarray(a[0], np.float64), b) for a, b in zip(got, want, strict=True)]
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def measure(report: Report) -> None:
    """Errors of the output and the gradients together. A kernel that is wrong, or fails, does not end the others."""
    wrong = []
    todo = sorted(jobs(report.small), key=lambda job: job.kernel.kind in SLOW)
    with ThreadPoolExecutor(min(12, os.cpu_count() or 1)) as pool:
        pending = {pool.submit(compiled, job): job for job in todo}
        for done in as_completed(list(pending)):
            job = pending.pop(done)
            report.at(job.name)
            try:
                error = error_of(done.result()(*job.arrays), job.want())
            except Exception as failure:
                wrong.append(f"{job.name}: {type(failure).__name__}: {str(failure).strip()[:100]}")
                report.note(wrong[-1])
                continue
            if math.isfinite(error):
                report.figure(job.name, error)
            if not error <= job.goal:
                wrong.append(f"{job.name} {error:.2g}")
            report.at(", ".join(job.name for job in pending.values())[:300])
    if wrong:
        raise Wrong("; ".join(wrong))
