"""Weights decay in matrices and tables, of every model and every head, and in nothing else."""

import jax
import jax.numpy as jnp
import pytest

from jaxgpt.models import Model
from jaxgpt.nn.text_head import TextHead
from jaxgpt.ops.sharding import path_name
from jaxgpt.runs.optimizers.matrices import decayed
from jaxgpt.spec import members, parse

SIZE = {"num_layers": 2, "d_model": 256, "num_heads": 2, "context": 4096, "vocab_size": 64}
OTHER_SIZES = {"recurrent": {"d_model": 8, "units": (8, 16), "two_biases": True, "context": 16, "vocab_size": 64}}
MATRICES = ("weight", "state_weight", "token", "position", "token_type")
"""Names that the package gives to matrices and tables. A table of what is added to scores is a bias all the same."""
HEADS = [
    {"kind": "contrastive", "projection": "mlp", "temperature": 0.07},
    {"kind": "contrastive", "projection": "tanh", "width": 8},
    {"kind": "task", "labels": ("a", "b")},
]
MODELS = {
    **{kind: {} for kind in members(Model.seam)},
    **{f"decoder {number}": {"kind": "decoder", "text_head": head} for number, head in enumerate(HEADS)},
    **{
        f"bert {number}": {"kind": "bert", "next_sentence": True, "text_head": head}
        for number, head in enumerate(HEADS)
    },
    "experts": {"kind": "decoder", "feed_forward": {"kind": "moe", "num_experts": 4, "top_k": 1}},
    "biased scores": {
        "kind": "decoder",
        "position": "t5",
        "qk_norm": "rms",
        "norm_place": "both",
        "embed_norm": "layer",
    },
    "biased output": {"kind": "gpt2", "tied": False, "head_bias": True},
}


def leaves(tree):
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.parametrize("name", MODELS)
def test_matrices_and_tables_decay_and_nothing_else(name):
    model = parse(Model, {"kind": name} | OTHER_SIZES.get(name, SIZE) | MODELS[name])
    mask = leaves(decayed(model.shapes()))
    assert {path for path, decays in mask.items() if decays} == {
        path for path in mask if path.split("/")[-1] in MATRICES
    }


def test_every_head_is_among_them():
    assert {head["kind"] for head in HEADS} == set(members(TextHead.seam))


def test_ranks_count_within_a_layer_and_an_expert():
    """A module of one's own may name its parameters as it likes."""
    layers = {"gate": (2,), "slope": (2, 8), "mix": (2, 8, 8), "experts": {"gain": (2, 4, 8), "mix": (2, 4, 8, 8)}}
    shapes = {"gate": (), "slope": (8,), "table": (8, 4), "blocks": {"layers": layers}}
    leaf = lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32)  # noqa: E731
    tree = jax.tree.map(leaf, shapes, is_leaf=lambda value: isinstance(value, tuple))
    assert {path for path, decays in leaves(decayed(tree)).items() if decays} == {
        "table",
        "blocks/layers/mix",
        "blocks/layers/experts/mix",
    }
