"""Biases of zero, which make a model without biases one of a class that always has them, and change no number."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.models import Decoder
from jaxgpt.models.transformer import Transformer
from jaxgpt.nn.norm import LayerNorm, Norm

T = TypeVar("T", bound=Transformer)


def with_biases_of(model: T, other: T) -> T:
    """`model` with a bias wherever it or `other` has one."""
    ours, theirs = _biases(model), _biases(other)
    wanted = {name: has or theirs.get(name, False) for name, has in ours.items()}
    norms = {name: _biased(getattr(model, name), getattr(other, name)) for name in ("norm", "embed_norm")}
    if wanted == ours and all(getattr(model, name) == norm for name, norm in norms.items()):
        return model
    for name in ("qkv_bias", "o_bias"):  # None: as `bias`
        wanted[name] = None if wanted[name] == wanted["bias"] else wanted[name]
    return model.evolve(**wanted, **norms)


def _biases(model: Transformer) -> dict[str, bool | None]:
    """The fields that say which projections have a bias, resolved."""
    fields: dict[str, bool | None] = {"bias": model.bias, "qkv_bias": model.has_qkv_bias, "o_bias": model.has_o_bias}
    return fields | ({"head_bias": model.head_bias} if isinstance(model, Decoder) and not model.tied else {})


def with_all_biases(model: T) -> T:
    """`model` with a bias in every projection and norm."""
    norms = {name: _biased(getattr(model, name), LayerNorm()) for name in ("norm", "embed_norm")}
    return with_biases_of(model, model.evolve(bias=True, qkv_bias=None, o_bias=None, **norms))


def add_zeros(params: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter tree with zeros for every bias that `shapes`, of a model with more of them, has and it lacks."""
    leaves = dict(flatten_dict(params, sep="/"))
    for path, leaf in flatten_dict(shapes, sep="/").items():
        if path not in leaves and path.endswith("/bias"):
            leaves[path] = np.zeros(leaf.shape, leaf.dtype)
    return dict(unflatten_dict(leaves, sep="/"))


def _biased(norm: Norm | None, other: Norm | None) -> Norm | None:
    if isinstance(norm, LayerNorm) and isinstance(other, LayerNorm):
        return norm.evolve(bias=norm.bias or other.bias)
    return norm
