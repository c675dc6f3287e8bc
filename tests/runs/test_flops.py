"""FLOPs of a run are those that XLA counts in its gradient, whatever part of the model is trained."""

import jax
import jax.numpy as jnp
import pytest

from jaxgpt.runs.trainable import merge_params, split_params
from jaxgpt.train.program import build_model

B, T, D = 8, 32, 128
SHAPE = {"model.num_layers": 3, "model.d_model": D, "model.num_heads": 4, "model.context": T, "model.vocab_size": 256}
COUNTED = {
    "everything": None,
    "biases": ("bias$",),
    "queries and values": ("attention/[qv]/",),
    "embeddings": ("^embed/",),
    "final norm": ("^norm_final/",),
    "output": ("^lm_head/",),
}


def computed(run):
    """What XLA counts in the gradient of a batch, for each of its tokens."""
    module, (params, frozen) = build_model(run), split_params(run.model.shapes(), run.trained)
    ids = jax.ShapeDtypeStruct((B, T), jnp.int32)

    def step(params, frozen, batch):
        def loss(params):
            return run.objective.loss(module, merge_params(params, frozen), batch, None)[0]

        return jax.value_and_grad(loss)(params)

    lowered = jax.jit(step).lower(params, frozen, {"tokens": ids, "targets": ids})
    return lowered.compile().cost_analysis()["flops"] / (B * T)


@pytest.mark.often("everything", "queries and values", "embeddings")
@pytest.mark.parametrize("name", COUNTED)
def test_what_is_counted_is_what_is_computed(tiny, name):
    """Within 8%: norms, softmax and the loss are not counted, and of the lowest layer the compiler leaves something
    out where its input needs no gradient."""
    rules = COUNTED[name]
    run = tiny(**SHAPE, **{"model.tied": name != "output", "start": rules and "elsewhere", "trainable": rules})
    assert run.flops_per_token() == pytest.approx(computed(run), rel=0.08)


@pytest.mark.often("prefix")
@pytest.mark.parametrize("kind", ["prompt", "prefix", "adapter"])
def test_an_adapter_is_counted_too(tiny, kind):
    """Virtual tokens beside the T of a text, and layers of its own."""
    adapter = {"kind": kind} | ({"width": 32} if kind == "adapter" else {"tokens": T // 2})
    context = T if kind == "adapter" else T + T // 2
    run = tiny(**SHAPE | {"model.context": context, "model.adapter": adapter, "start": "elsewhere"})
    assert run.seq_len == T and run.flops_per_token() == pytest.approx(computed(run), rel=0.08)


@pytest.mark.often("0.5")
@pytest.mark.parametrize("lm_weight", [0.0, 0.5])
def test_a_task_is_counted_too(tiny, lm_weight):
    """Of both orders of a pair, with logits of all tokens or of none."""
    task = {"objective": {"kind": "similarity", "lm_weight": lm_weight}, "model.text_head": "task"}
    run = tiny(**SHAPE, **task, data={"columns": ["a", "b"], "label": "c"})
    module = build_model(run)
    given = {name: jax.ShapeDtypeStruct((B, *shape[1:]), dtype) for name, (shape, dtype) in run.batch_shapes().items()}
    step = jax.grad(lambda params, batch, key: run.objective.loss(module, params, batch, key)[0])
    lowered = jax.jit(step).lower(run.model.shapes(), given, jax.random.key(0))
    counted = lowered.compile().cost_analysis()["flops"] / (B * run.row_tokens)
    assert run.row_tokens == 2 * T and run.flops_per_token() == pytest.approx(counted, rel=0.08)


def test_the_forward_pass_takes_a_third_and_more_of_what_is_frozen(tiny):
    frozen = {"start": "elsewhere", "trainable": ("bias$",)}
    assert tiny(**SHAPE).forward_share == pytest.approx(1 / 3)
    assert 0.4 < tiny(**SHAPE, **frozen).forward_share < 0.5
    assert tiny(**SHAPE, **(frozen | {"trainable": ("^norm_final/",)})).forward_share > 0.9


def test_all_trained_is_the_plain_formula(tiny):
    run = tiny(**SHAPE)
    looked_up = T * D
    assert run.flops_per_token() == 6 * (run.model.count() - looked_up) + 12 * 3 * D * T
