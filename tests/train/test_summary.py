"""What a run is said to cost is what it costs."""

import json

import jax
import pytest

from jaxgpt.runs.optimizers import Optimizer  # noqa: F401  declares the seam
from jaxgpt.spec import members
from jaxgpt.train.state import init_state
from jaxgpt.train.summary import summarize


def size(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("kind", members("optim"))
def test_memory_is_the_bytes_of_the_real_state(tiny, weights, kind):
    run = tiny(**{"optim": {"kind": kind, "lr": 1e-3}, "ema": 0.9})
    params = weights(run.model)
    state, facts = init_state(run, params), summarize(run)
    assert facts["params"] == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert facts["memory_params_bytes"] == facts["memory_gradients_bytes"] == facts["memory_ema_bytes"] == size(params)
    assert facts["memory_optimizer_bytes"] == size(state.opt_state)
    assert facts["memory_state_bytes"] == size(state) + size(params)


def test_figures_follow_their_formulas(tiny):
    run = tiny(**{"model.pattern": [{"kind": "causal"}, {"kind": "banded", "window": 2}]})
    facts = summarize(run)
    weights = facts["params"] - 8 * 16  # less the position table
    assert facts["flops_per_token"] == 6 * weights + 12 * 2 * 16 * 8
    assert facts["flops_per_token_true"] == 6 * weights + 12 * 16 * ((8 + 1) / 2 + (1 + 7 * 2) / 8)
    assert (facts["tokens_per_step"], facts["tokens"]) == (64, 20 * 64)
    assert facts["flops"] == facts["tokens"] * facts["flops_per_token"]


def test_tokens_count_the_growing_batch(tiny):
    grown = tiny(**{"batch_ramp": {"start": 4, "tokens": 4 * 8 * 5, "stairs": 1}})
    assert summarize(grown)["tokens"] == (5 * 4 + 15 * 8) * 8


def test_it_is_json_and_its_spec_is_the_run(tiny):
    run = tiny()
    assert json.loads(json.dumps(summarize(run)))["spec"] == run.model_dump(mode="json")


def test_an_open_vocabulary_is_the_tokenizers(little):
    run = little()
    facts = summarize(run)
    assert facts["spec"]["model"]["vocab_size"] == 257
    assert facts["params"] == run.with_vocabulary(257).model.count()


def test_a_token_meets_its_own_experts_only(tiny):
    moe = {"kind": "moe", "num_experts": 4, "top_k": 1, "expert": {"kind": "mlp", "d_ff": 8}}
    facts = summarize(tiny(**{"model.feed_forward": moe, "model.num_layers": 2}))
    expert = 16 * 8 + 8 + 8 * 16 + 16
    assert facts["params"] - facts["params_active"] == 2 * 3 * expert
    assert summarize(tiny())["params_active"] == summarize(tiny())["params"]
