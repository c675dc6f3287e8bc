"""Attention of one row at 16k and 8k, 8 heads of width 128, bfloat16: sparse patterns against dense and FlexAttention.

Milliseconds of every kernel that is made for speed and does not refuse, forward, and forward and backward. Ratios are
of the kernel that `auto` takes: `over_dense` over the one it takes for a causal row (cuDNN's on a GPU), `over_flex`
over PyTorch's FlexAttention on the same mask.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from peer import Peer, PeerError, missing, turns

from gpu.cases import kernels, patterns, row
from gpu.kernels import both
from gpu.part import Report, Wrong
from jaxgpt.ops.attention import Auto, Kernel, Scores, case_of_call
from jaxgpt.ops.patterns import Pattern

SLOW = ("reference", "chunked")
"""Not timed unless `auto` takes it."""
ORDER = ("strided", "fixed", "dilated", "band", "dense")
PASSES = ("forward", "both")
SHORT = 512
"""Tokens of the row in which the peer's masks are counted."""


def measure(report: Report) -> None:
    """Both lengths, the longer first."""
    known = patterns(report.small)
    lacks = missing("torch")
    if lacks:
        report.note(lacks)
    heads, width = (2, 16) if report.small else (8, 128)
    fields = {name: pattern.model_dump(mode="json") for name, pattern in known.items()}
    with nullcontext() if lacks else Peer("gpu/torch_attention.py", fields, heads, width) as peer:
        for length in (256,) if report.small else (16384, 8192):
            at_length(report, known, length, (heads, width), peer)


def at_length(report: Report, known: dict[str, Pattern], length: int, size: tuple[int, int], peer: Peer | None) -> None:
    rng = np.random.default_rng(0)
    arrays = [jnp.asarray(rng.standard_normal((1, size[0], length, size[1])), jnp.bfloat16) for _ in range(4)]
    all_scores = {name: row(known[name], length) for name in ORDER}
    building = None if peer is None else peer.begin("build", ORDER[0], length)
    report.at(f"compiling at {length}")
    programs: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor(min(12, os.cpu_count() or 1)) as pool:
        for name, scores in all_scores.items():
            case = case_of_call(arrays[0], arrays[1], scores)
            chosen = Auto().choose(case)
            timed = {kind: k for kind, k in kernels().items() if kind not in SLOW and k.refusal(case) is None}
            if name == "dense":
                timed = {}
            report.note(f"auto takes {chosen.kind} for {name} at {length}")
            programs[name] = {"auto": chosen.kind} | {
                f"{kind}_{which}": pool.submit(compiled, kernel, scores, arrays, which)
                for kind, kernel in (timed | {chosen.kind: chosen}).items()
                for which in PASSES
            }
    dense = programs["dense"]["auto"]
    for name, scores in all_scores.items():
        chosen = programs[name].pop("auto")
        calls: dict[str, Callable[[int], float]] = {}
        for call, run in programs[name].items():
            try:
                calls[call] = partial(block, run.result(), arrays)
            except Exception as failure:
                report.note(f"{call} of {name}: {type(failure).__name__}: {str(failure).strip()[:100]}")
        for which in PASSES:
            calls[f"dense_{which}"] = partial(block, programs["dense"][f"{dense}_{which}"].result(), arrays)
        if peer is not None:
            report.at(f"FlexAttention compiling {name} at {length}")
            try:
                check_pairs(name, scores, (building or peer.begin("build", name, length)).result())
                calls |= {f"flex_{which}": partial(flex, peer, name, length, which) for which in PASSES}
            except PeerError as error:
                report.note(str(error))
            building = None
        report.at(f"{name} at {length}")
        times = took_each(report, calls)
        for call, took in times.items():
            if not call.startswith("dense_"):
                report.figure(f"{name}_{length}_{call}_ms", 1000 * took)
        for which in PASSES:
            for other in ("flex",) if name == "dense" else ("dense", "flex"):
                if {f"{other}_{which}", f"{chosen}_{which}"} <= times.keys():
                    ratio = times[f"{other}_{which}"] / times[f"{chosen}_{which}"]
                    report.figure(f"{name}_{length}_{which}_over_{other}", ratio)


def took_each(report: Report, calls: dict[str, Callable[[int], float]]) -> dict[str, float]:
    rounds, count = (2, 1) if report.small else (7, 10)
    return turns({name: partial(call, count) for name, call in calls.items()}, rounds, 1, report.note)


def compiled(kernel: Kernel, scores: Scores, arrays: list[Any], which: str) -> Any:
    if which == "both":
        return jax.jit(both(kernel, scores)).lower(*arrays).compile()
    forward = jax.jit(lambda q, k, v, _: kernel.attend(q, k, v, scores))
    return forward.lower(*arrays).compile()


def block(run: Callable[..., Any], arrays: list[Any], count: int) -> float:
    """Seconds a call, mean of `count` that are waited for together."""
    start = time.perf_counter()
    for _ in range(count):
        out = run(*arrays)
    jax.block_until_ready(out)
    return (time.perf_counter() - start) / count


def flex(peer: Peer, name: str, length: int, which: str, count: int) -> float:
    return float(peer.ask("block", name, length, which, count))


def check_pairs(name: str, scores: Scores, theirs: int) -> None:
    at = np.arange(SHORT)
    own = int(np.broadcast_to(scores.pattern.allows(at[:, None], at[None, :]), (SHORT, SHORT)).sum())
    if own != theirs:
        raise Wrong(f"the peer's mask of {name} allows {theirs} pairs, ours {own}")
