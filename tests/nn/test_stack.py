"""Stacked parameters apart, and the names that checkpoints hold."""

import jax
import numpy as np

from jaxgpt.models import GPT2
from jaxgpt.nn.stack import split_layers


def test_split_layers_is_indexing_in_value_and_gradient():
    tree = {"a": np.arange(24.0, dtype=np.float32).reshape(3, 2, 4), "b": np.arange(3.0, dtype=np.float32)}
    layers = split_layers(tree)
    assert len(layers) == 3
    for i, layer in enumerate(layers):
        jax.tree.map(lambda part, whole, i=i: np.testing.assert_array_equal(part, whole[i]), layer, tree)
    grad = jax.device_get(jax.grad(lambda t: (split_layers(t)[1]["a"] ** 2).sum())(tree))
    np.testing.assert_array_equal(grad["a"][1], 2 * tree["a"][1])
    assert not grad["a"][[0, 2]].any() and not grad["b"].any()


def test_parameter_names_are_stable():
    """Checkpoints and weight maps of other libraries rest on these paths and shapes."""
    L, D, H, K, V, C = 3, 8, 2, 4, 11, 5
    shapes = GPT2(num_layers=L, d_model=D, num_heads=H, num_kv_heads=1, vocab_size=V, context=C, qk_norm="rms").shapes()
    found = {
        "/".join(part.key for part in path): leaf.shape
        for path, leaf in jax.tree_util.tree_flatten_with_path(shapes)[0]
    }
    layers = {
        "attention/q/weight": (D, H * K), "attention/q/bias": (H * K,),
        "attention/k/weight": (D, K), "attention/k/bias": (K,),
        "attention/v/weight": (D, K), "attention/v/bias": (K,),
        "attention/o/weight": (H * K, D), "attention/o/bias": (D,),
        "attention/q_norm/scale": (K,), "attention/k_norm/scale": (K,),
        "feed_forward/up/weight": (D, 4 * D), "feed_forward/up/bias": (4 * D,),
        "feed_forward/down/weight": (4 * D, D), "feed_forward/down/bias": (D,),
        "norm_attention/scale": (D,), "norm_attention/bias": (D,),
        "norm_feed_forward/scale": (D,), "norm_feed_forward/bias": (D,),
    }  # fmt: skip
    assert found == {f"blocks/layers/{name}": (L, *shape) for name, shape in layers.items()} | {
        "embed/token": (V, D),
        "embed/position": (C, D),
        "norm_final/scale": (D,),
        "norm_final/bias": (D,),
    }
