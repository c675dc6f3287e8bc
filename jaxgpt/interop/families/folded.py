"""A task head's numbers moved to where a class of another library has a place for them. D model width, C outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.nn.norm import LayerNorm
from jaxgpt.nn.norm_place import PostNorm
from jaxgpt.spec import ConfigError

OUT = "text_head/out"
EXACT = 1e-6
"""What may be lost of a bias, as a share of its largest entry: float32's rounding."""


def shifts(model: Any) -> str | None:
    """The bias that is added to every state that a decoder's head sees, last of all; None: there is none, as with RMS
    norms."""
    if not (isinstance(model.norm, LayerNorm) and model.norm.bias):
        return None
    if model.norm_place.final_norm:
        return "norm_final/bias"
    return "blocks/layers/norm_feed_forward/bias" if model.norm_place == PostNorm() else None


def fold(scale: tuple[float, float] | None, model: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `model`, whose output is the score itself, from those of a model with other heads beside it,
    whose output stands for a score of that mean and standard deviation. `params` has all leaves of `model`.

    Both become part of the output layer. Where that is without a bias, what one would add is added to the states
    before it: to the last norm's bias, along the output layer's columns. Raises ConfigError where these columns depend
    on each other, so that no such addition gives that bias.
    """
    leaves = dict(flatten_dict(params, sep="/"))
    mean, deviation = scale or (0.0, 1.0)
    weight_DC = np.asarray(leaves[f"{OUT}/weight"], np.float64) * deviation
    bias_C = np.asarray(leaves.pop(f"{OUT}/bias", np.zeros(weight_DC.shape[1])), np.float64) * deviation + mean
    leaves[f"{OUT}/weight"] = weight_DC.astype(np.float32)
    where = shifts(model)
    if model.text_head.bias:
        leaves[f"{OUT}/bias"] = bias_C.astype(np.float32)
    elif where is not None and bias_C.any():
        shift_D = np.linalg.pinv(weight_DC.T) @ bias_C
        if np.abs(shift_D @ weight_DC - bias_C).max() > EXACT * np.abs(bias_C).max():
            raise ConfigError(
                "model.text_head.bias: the class has none, and the output layer's columns depend on each other, so "
                "that nothing before it stands in for one; train with text_head.bias=false"
            )
        leaves[where] = _shifted(np.asarray(leaves[where]), shift_D)
    return dict(unflatten_dict({path: leaves[path] for path in flatten_dict(model.shapes(), sep="/")}, sep="/"))


def _shifted(bias: np.ndarray, shift_D: np.ndarray) -> np.ndarray:
    """(D,), or (L, D) of which the last layer's is meant."""
    out = bias.astype(np.float64)
    out[(-1,) if bias.ndim > 1 else ...] += shift_D
    return out.astype(np.float32)
