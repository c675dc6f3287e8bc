"""Texts to vectors, for encoders and decoders alike. B rows, T tokens, D model width, N texts."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgpt.inference.by_length import MOST_ROWS, SHORTEST, by_length
from jaxgpt.models import Model
from jaxgpt.ops.pooling import NAMES, Recipe, layered
from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import instance, strings, whole
from jaxgpt.spec.errors import did_you_mean, quote
from jaxgpt.text import Codec


def recipe_for(model: Model, given: Recipe | None, pooling: str | None) -> Recipe:
    """What came with the weights, or the model's own head where that makes vectors, else the mean over an encoder's
    tokens and a decoder's last; `pooling` goes first.

    Raises ConfigError for a pooling that is not known.
    """
    head = model.text_head
    recipe = given or Recipe((model.pooling,) if head is None or not head.embeds else ())
    if pooling is None:
        return recipe
    instance("pooling", pooling, "the name of one, as 'mean'", str)
    if pooling not in NAMES:
        raise ConfigError(f"pooling: unknown {quote(pooling)}{did_you_mean(pooling, NAMES)}")
    return recipe._replace(poolings=(pooling,))


def encode(
    module: nn.Module,
    params: Any,
    codec: Codec,
    texts: Sequence[str],
    recipe: Recipe,
    batch_size: int = 32,
    quiet: bool = False,
) -> np.ndarray:
    """float32 (N, D), a row for each text in its order.

    Texts get the special tokens of their vocabulary, are cut to the recipe's length, and go through the model longest
    first, in batches of like length that come in few shapes: two widths an octave. Progress is shown once it has
    lasted a while. Raises ConfigError for what is not a list of strings, and for a text without any token.
    """
    limit = min(recipe.max_length or module.spec.room, module.spec.room)
    rows = _rows(codec, _checked(texts, batch_size), recipe, limit)

    def compute(index: np.ndarray, height: int, width: int) -> jax.Array:
        tokens_BT, lengths_B = _batch([rows[i] for i in index], height, width)
        vectors = _pooled(module, recipe.poolings, params, tokens_BT, lengths_B)
        for step in recipe.after:
            vectors = step(vectors)
        return vectors

    vectors = by_length([len(row) for row in rows], batch_size, limit, compute, "encode", quiet)
    return np.zeros((0, _width(module, recipe, params)), np.float32) if vectors is None else vectors


@partial(jax.jit, static_argnums=(0, 1))
def _pooled(
    module: nn.Module, poolings: tuple[str, ...], params: Any, tokens_BT: jax.Array, lengths_B: jax.Array
) -> jax.Array:
    real_BT = jnp.arange(tokens_BT.shape[1]) < lengths_B[:, None]
    given, segments = {"params": params}, real_BT.astype(jnp.int32)
    if not poolings:
        return module.apply(given, tokens_BT, segments=segments, method="represent")
    states = module.apply(given, tokens_BT, segments=segments, every=layered(poolings), method="states")
    return Recipe(poolings).pool(states, real_BT)


def _width(module: nn.Module, recipe: Recipe, params: Any) -> int:
    """D, found without computing anything."""

    def vector_of(params: Any) -> jax.Array:
        vectors = _pooled(module, recipe.poolings, params, jnp.zeros((1, SHORTEST), jnp.int32), jnp.ones(1, jnp.int32))
        for step in recipe.after:
            vectors = step(vectors)
        return vectors

    return jax.eval_shape(vector_of, params).shape[1]


def _checked(texts: Sequence[str], batch_size: int) -> list[str]:
    if isinstance(texts, str):
        raise ConfigError("texts: a single string; expected a list of them: m.encode([text])")
    rows = strings("texts", texts)
    whole("batch_size", batch_size, 1, MOST_ROWS)
    return rows


def _rows(codec: Codec, texts: Sequence[str], recipe: Recipe, limit: int) -> list[np.ndarray]:
    rows = codec.framed([recipe.prepare(text) for text in texts], limit)
    for row, ids in enumerate(rows):
        if not len(ids):
            raise ConfigError(f"texts: row {row}, {quote(texts[row])}, has no token; leave it out")
    return rows


def _batch(rows: Sequence[np.ndarray], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """int32 (height, width) and (height,). Rows that fill up have one token, and nobody looks at them."""
    tokens, lengths = np.zeros((height, width), np.int32), np.ones(height, np.int32)
    for i, ids in enumerate(rows):
        tokens[i, : len(ids)] = ids
        lengths[i] = len(ids)
    return tokens, lengths
