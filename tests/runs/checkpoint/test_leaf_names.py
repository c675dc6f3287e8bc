"""Checkpoints of older versions, whose leaves had other names, are read as they are."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from checkpoints import assert_bitwise
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.models import BERT, Decoder
from jaxgpt.runs import Run
from jaxgpt.runs.checkpoint.checkpoint import restore, save
from jaxgpt.runs.checkpoint.leaf_names import renamed
from jaxgpt.runs.optimizers import Optimizer
from jaxgpt.spec import ConfigError, members, parse

OLDER = (
    "params/blocks/layers/norm_1/scale",
    "params/blocks/layers/norm_2/bias",
    "params/blocks/layers/norm_1_after/scale",
    "ema/blocks/layers/norm_2_after/scale",
    "params/norm_e/scale",
    "params/norm_f/scale",
    "opt_state/0/mu/head/weight",
    "params/head/dense/weight",
    "params/task/dense/bias",
    "opt_state/inner_state/1/nu/task/log_temperature",
    "params/embed/bias",
)
TODAY = (
    "params/blocks/layers/norm_attention/scale",
    "params/blocks/layers/norm_feed_forward/bias",
    "params/blocks/layers/norm_attention_after/scale",
    "ema/blocks/layers/norm_feed_forward_after/scale",
    "params/norm_embed/scale",
    "params/norm_final/scale",
    "opt_state/0/mu/lm_head/weight",
    "params/lm_head/dense/weight",
    "params/text_head/dense/bias",
    "opt_state/1/nu/text_head/log_temperature",
    "params/blocks/bias",
)


NEW = (
    "norm_attention/",
    "norm_feed_forward_after/",
    "norm_embed/",
    "norm_final/",
    "lm_head/",
    "text_head/",
    "blocks/bias",
)


def tree(paths):
    """A leaf of its own at each path."""
    return unflatten_dict({path: np.full((2, 3), i, np.float32) for i, path in enumerate(paths)}, sep="/")


def test_leaves_of_older_names_come_back_under_those_of_today(tmp_path):
    save(tmp_path, 1, tree(OLDER), {})
    assert_bitwise(restore(tmp_path, tree(TODAY))[1], tree(TODAY))
    part = restore(tmp_path, tree(TODAY)["params"], part="params")[1]
    assert_bitwise(part, tree(TODAY)["params"])


def test_a_module_of_ones_own_may_use_an_older_name(tmp_path):
    own = tree(["params/blocks/layers/head/weight", "params/task/norm_1/scale"])
    save(tmp_path, 1, own, {})
    assert_bitwise(restore(tmp_path, own)[1], own)


@pytest.mark.parametrize("kind", members(Optimizer.seam))
def test_an_optimisers_state_of_before_its_settings_were_inputs_of_the_step(tmp_path, kind):
    """It held the learning rate and the weight decay of the last update beside what the parts of the chain hold."""
    params = {"blocks": {"layers": {"up": {"weight": jnp.ones((2, 4, 4))}}}, "embed": {"token": jnp.ones((8, 4))}}
    state = parse(Optimizer, {"kind": kind, "lr": 1e-3}).build().init(params)
    wrapped = optax.InjectHyperparamsState(
        jnp.int32(7), {name: jnp.float32(0.1) for name in ("learning_rate", "weight_decay")}, state
    )
    save(tmp_path, 1, {"opt_state": wrapped}, {})
    assert_bitwise(restore(tmp_path, {"opt_state": state})[1], {"opt_state": state})


def test_what_is_missing_under_both_names_is_said(tmp_path):
    save(tmp_path, 1, tree(OLDER[:-1]), {})
    with pytest.raises(ConfigError, match=r"params/blocks/bias: not in the checkpoint"):
        restore(tmp_path, tree(TODAY))


def test_no_model_uses_a_name_that_is_out_of_use():
    size = {"num_layers": 1, "d_model": 8, "num_heads": 2, "vocab_size": 16}
    text = {"text_head": {"kind": "contrastive", "projection": "mlp"}}
    decoder = Decoder(**size, context=8, tied=False, norm_place="both", position="t5", embed_norm="layer", **text)
    encoder = BERT(**size, next_sentence=True, **text)
    paths = {path for model in (decoder, encoder) for path in flatten_dict(model.shapes(), sep="/")}
    assert all(renamed(path) == path for path in paths)
    assert {renamed(path) for path in OLDER} == set(TODAY) and all(any(new in path for path in paths) for new in NEW)


def test_the_older_field_of_a_config_is_translated():
    with pytest.raises(ConfigError, match=r"(?m)^model\.head: unknown field; did you mean 'text_head'\?$"):
        parse(Run, {"model": {"kind": "bert", "head": {"kind": "contrastive"}}})
