"""What training an adapter holds: the base once, and of the adapter what an optimiser needs. From compiled programs, of
which nothing is run."""

import jax
import numpy as np

from jaxgpt.runs import Run
from jaxgpt.spec import parse
from jaxgpt.train.program import hyper, program

GPT2 = {"kind": "gpt2", "num_layers": 12, "d_model": 768, "num_heads": 12, "context": 1024, "vocab_size": 50257}


def size(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_lora_on_gpt2_124m_holds_its_base_and_little_more():
    tree = {
        "model": {**GPT2, "adapter": {"kind": "lora", "rank": 8}},
        "start": "base",
        "tokenizer": "byte",
        "data": {"seq_len": 64},
        "batch_size": 1,
        "steps": 10,
        "optim": {"kind": "adamw", "lr": 1e-3},
        "exec": {"layers": "scan"},
    }
    run = parse(Run, tree)
    compiled = program(run, jax.devices()[:1])
    row = jax.ShapeDtypeStruct((1, 64), np.int32)
    args = compiled.state, {"tokens": row, "targets": row}, jax.random.key(0), hyper(run)
    memory = compiled.step.lower(*args).compile().memory_analysis()
    base = size(compiled.state.frozen)
    assert base == 4 * 124_439_808 and size(compiled.state.params) == 4 * 294_912
    given = memory.argument_size_in_bytes
    assert size(compiled.state) < given <= 1.05 * base + size(compiled.state.opt_state)
    assert given < 1.008 * base, "as measured: with the adapter itself, its moments and a row of tokens"
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < 1000, "the state is updated in place"
