"""GPT-2 124M writes 128 tokens after a prompt of 64, at batch 1 and 32, greedy and sampled, beside Hugging Face.

Random weights in bfloat16, from lists of ids to lists of ids. Hugging Face's cache is the one that `generate` takes by
itself (`dynamic`), then the static one, for which it compiles; `over_hugging_face` is over the faster of the two.
"""

import math
import time
from contextlib import nullcontext
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from peer import Peer, missing, turns

from gpu.part import Report
from jaxgpt.decode import Sampling, generate
from jaxgpt.models import GPT2
from jaxgpt.nn.stack import unstack

DRAWS = {"temperature": 0.8, "top_k": 40}
SETTINGS = {"greedy": Sampling(temperature=0.0), "sampled": Sampling(**DRAWS)}


def measure(report: Report) -> None:
    """Tokens per second of each setting; Hugging Face's static cache last, since it compiles for each batch."""
    prompt, max_new = (8, 6) if report.small else (64, 128)
    size = {"num_layers": 2, "d_model": 32, "num_heads": 2} if report.small else GPT2.sizes["124m"]
    model = GPT2(**size, vocab_size=257 if report.small else 50257, context=64 if report.small else 1024)
    params = unstack(jax.tree.map(lambda x: x.astype(jnp.bfloat16), jax.jit(model.init)(jax.random.key(0))))
    rng = np.random.default_rng(0)
    prompts = {rows: rng.integers(0, model.vocab_size, (rows, prompt)).tolist() for rows in (1, 32)}

    def ours(rows: int, sampling: Sampling) -> float:
        start = time.perf_counter()
        out = generate(model, params, prompts[rows], max_new, sampling, dtype="bfloat16")
        took = time.perf_counter() - start
        assert np.shape(out) == (rows, max_new)
        return took

    fields = {
        "vocab_size": model.vocab_size,
        "n_positions": model.context,
        "n_embd": model.d_model,
        "n_layer": model.num_layers,
        "n_head": model.num_heads,
    }
    lacks = missing("torch", "transformers")
    if lacks:
        report.note(lacks)
    best: dict[str, float] = {}
    with nullcontext() if lacks else Peer("gpu/torch_generation.py", fields, prompt, DRAWS) as peer:
        for cache in ("dynamic",) if peer is None else ("dynamic", "static"):
            for rows, way in product((1, 32), SETTINGS):
                name = f"{way}_b{rows}"
                report.at(f"{name}, {cache} cache")
                if cache == "dynamic":
                    report.figure(f"{name}_first_seconds", ours(rows, SETTINGS[way]))
                calls = {"ours": partial(ours, rows, SETTINGS[way])}
                if peer is not None:
                    calls[cache] = partial(theirs, peer, rows, max_new, way == "sampled", cache)
                took = turns(calls, 1 if report.small else 3, 1, report.note)
                for call, seconds in took.items():
                    label = "tokens_per_second" if call == "ours" else f"hugging_face_{call}_per_second"
                    report.figure(f"{name}_{label}", rows * max_new / seconds)
                if cache in took:
                    best[name] = min(took[cache] / took["ours"], best.get(name, math.inf))
                    report.figure(f"{name}_over_hugging_face", best[name])


def theirs(peer: Peer, rows: int, max_new: int, sampled: bool, cache: str) -> float:
    return float(peer.ask("write", rows, max_new, sampled, cache))
