"""What a reader of any format gives: a model, its tokenizer, and a way to read its weights leaf by leaf."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.models import Model
from jaxgpt.ops.pooling import Recipe
from jaxgpt.text import Codec

Put = Callable[[str, np.ndarray], Any]
"""Takes a leaf's path (`blocks/layers/attention/q/weight`) and its numbers; gives what stands in the tree for it."""


class Source(NamedTuple):
    """A checkpoint of another library, opened and checked; no weight is in memory yet."""

    model: Model
    codec: Codec | None
    """None when there is no vocabulary beside the weights."""
    read: Callable[[str, Put | None], dict[str, Any]]
    """`read(dtype, put)` -> the parameter tree in `dtype` (`float32`, `bfloat16`, ...), one leaf at a time, each given
    to `put` as soon as it is whole (None: kept as numpy). Raises JaxgptError listing every tensor that does not fit."""
    generation: Mapping[str, Any]
    """`bos_token_id`, `eos_token_id` and what else the checkpoint says about generating; keys as in
    generation_config.json."""
    recipe: Recipe | None = None
    """How texts become vectors, where the checkpoint says so."""
    chat_templates: Mapping[str, str] = MappingProxyType({})
    """Jinja text by name, `default` among them, that makes one text of a conversation; carried along, never run."""
