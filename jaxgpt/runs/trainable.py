"""Which parameters a run changes: rules over their paths. The others are frozen: nobody saves or averages them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.ops.sharding import path_name
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.rules import names

Rules = Sequence[str]
"""Regular expressions: a parameter in whose path one of them is found is trained."""


ADAPTED = ("(^|/)adapter/|^text_head/",)
"""What is trained of a model with an adapter where nothing else is said."""


def is_trained(path: str, rules: Rules | None) -> bool:
    """Whether these rules train the parameter at a path; None trains all."""
    return rules is None or names(rules, path)


def split_params(params: Any, rules: Rules | None) -> tuple[Any, Any]:
    """`(trainable, frozen)`, trees of the paths that `params` has; None for a frozen part without parameters.

    Raises ConfigError for rules that no parameter follows.
    """
    if rules is None:
        return params, None
    flat = flatten_dict(params, sep="/")
    if idle := [rule for rule in rules if not any(names([rule], path) for path in flat)]:
        known = ", ".join(dict.fromkeys(path.split("/")[0] for path in flat))
        raise ConfigError(
            [f"trainable: no parameter is named as {quote(rule)} says; there are {known}" for rule in idle]
        )
    parts = ({path: leaf for path, leaf in flat.items() if is_trained(path, rules) == which} for which in (True, False))
    trainable, frozen = (unflatten_dict(part, sep="/") for part in parts)
    return trainable, frozen or None


def merge_params(trainable: Any, frozen: Any) -> Any:
    """The whole tree of which `split_params` gave the parts."""
    if frozen is None:
        return trainable
    return unflatten_dict(flatten_dict(trainable, sep="/") | flatten_dict(frozen, sep="/"), sep="/")


def frozen_digest(frozen: Any) -> str:
    """SHA-256 in hex over paths, dtypes, shapes and numbers; the same on any mesh."""
    sha = hashlib.sha256()
    for path, leaf in sorted((path_name(path), leaf) for path, leaf in jax.tree.leaves_with_path(frozen)):
        whole = _gathered(leaf)
        sha.update(f"{path} {whole.dtype} {whole.shape}\n".encode())
        sha.update(np.ascontiguousarray(whole).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def _gathered(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        from jax.experimental.multihost_utils import process_allgather

        return np.asarray(process_allgather(leaf, tiled=True))
    return np.asarray(leaf)
