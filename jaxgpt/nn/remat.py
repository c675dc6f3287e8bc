"""What the backward pass computes again of a layer, and what is saved for it."""

from collections.abc import Callable
from typing import Any, Literal

import jax
from jax import lax

Remat = Literal["none", "block", "dots", "stage"]
"""`none`: nothing is computed again but what costs no product; `dots`: all but products; `block`, `stage`: all."""

_ELEMENTWISE = (
    "abs acos add add_any and asin atan atan2 cbrt ceil clamp convert_element_type copy cos cosh div eq erf erf_inv "
    "erfc exp exp2 expm1 floor ge gt integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg not or "
    "pow reduce_precision rem round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign sin sinh "
    "sqrt square stop_gradient sub tan tanh xor"
)
_MOVEMENT = (
    "all_gather bitcast_convert_type broadcast_in_dim concatenate dynamic_slice expand_dims gather iota pad reshape "
    "rev slice split squeeze transpose"
)
_RANDOM = "random_bits random_clone random_fold_in random_split random_unwrap random_wrap threefry2x32"
_PASSES = frozenset(f"{_ELEMENTWISE} {_MOVEMENT} {_RANDOM}".split())
"""Primitives that read and write each number once, by name. Not `sharding_constraint`, which may move it between
devices."""


def recomputed(layer: Callable[..., Any], remat: Remat, loop: Literal["scan", "unroll"], staged: bool) -> Any:
    """`layer`, whose fourth and sixth arguments are static, so that its backward pass recomputes what `remat` says.

    In a scan every saved value is copied into a stack of all layers' and out again, so there `none` saves what took a
    product, a reduction or a kernel, and recomputes the passes between. `staged`: an axis of stages is mapped over.
    """
    if remat == "none" and loop == "unroll":
        return layer
    axes = int(staged)
    policy = {"none": _no_passes(axes + 1), "dots": _weight_products(axes)}.get(remat)
    # Within a loop the compiler cannot merge what is computed again with the first time, so no barrier is needed.
    return jax.checkpoint(layer, policy=policy, static_argnums=(3, 5), prevent_cse=loop == "unroll")


def _weight_products(batch_axes: int) -> Callable[..., bool]:
    """Saves products with weights, which have no batch axes but that of the stages, and not those within attention."""

    def saveable(primitive: Any, *_: Any, **params: Any) -> bool:
        return primitive is lax.dot_general_p and len(params["dimension_numbers"][1][0]) <= batch_axes

    return saveable


def _no_passes(batch_axes: int) -> Callable[..., bool]:
    """Saves all but what passes over numbers compute, and products with more batch axes: scores, of rows and heads."""

    def saveable(primitive: Any, *_: Any, **params: Any) -> bool:
        if primitive is lax.dot_general_p:
            return len(params["dimension_numbers"][1][0]) <= batch_axes
        return primitive.name not in _PASSES

    return saveable
