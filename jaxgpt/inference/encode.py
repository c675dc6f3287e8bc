"""Texts to vectors, for encoders and decoders alike. B rows, T tokens, D model width, N texts."""

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgpt.models import Model
from jaxgpt.ops.pooling import NAMES, Recipe, layered
from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import instance, strings, whole
from jaxgpt.spec.errors import did_you_mean, quote
from jaxgpt.terminal import Watch
from jaxgpt.text import Codec

SHORTEST = 8
"""Tokens of the narrowest batch."""
IN_FLIGHT = 2
"""Batches that the device works on while the host prepares the next."""
MOST_ROWS = 1_000_000
"""Of a batch."""
PATIENCE = 3.0
"""Seconds before progress is shown."""


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
    order = np.argsort([-len(row) for row in rows], kind="stable")
    height = min(batch_size, 1 << (len(rows) - 1).bit_length()) if rows else 0
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    flying: deque[tuple[np.ndarray, jax.Array]] = deque()
    done = 0

    with Watch("encode", total=len(rows), unit="texts", quiet=quiet, after=PATIENCE) as watch:
        for start in range(0, len(rows), batch_size):
            index = order[start : start + batch_size]
            tokens_BT, lengths_B = _batch([rows[i] for i in index], height, limit)
            vectors = _pooled(module, recipe.poolings, params, tokens_BT, lengths_B)
            for step in recipe.after:
                vectors = step(vectors)
            flying.append((index, vectors))
            while len(flying) > IN_FLIGHT or (flying and start + batch_size >= len(rows)):
                index, vectors = flying.popleft()
                parts.append((index, np.asarray(vectors, np.float32)[: len(index)]))
                done += len(index)
                watch.update(done)
    if not parts:
        return np.zeros((0, _width(module, recipe, params)), np.float32)
    out = np.empty((len(rows), parts[0][1].shape[1]), np.float32)
    for index, part in parts:
        out[index] = part
    return out


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


def _batch(rows: Sequence[np.ndarray], height: int, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """int32 (height, T) and (height,). Rows that fill up have one token, and nobody looks at them."""
    width = _padded(max(map(len, rows)), limit)
    tokens, lengths = np.zeros((height, width), np.int32), np.ones(height, np.int32)
    for i, ids in enumerate(rows):
        tokens[i, : len(ids)] = ids
        lengths[i] = len(ids)
    return tokens, lengths


def _padded(longest: int, limit: int) -> int:
    """The next of 8, 12, 16, 24, 32, 48, ...: powers of two and those half as much again."""
    width = SHORTEST
    while width < longest:
        width = width * 3 // 2 if width & (width - 1) == 0 else width * 4 // 3
    return min(width, limit)
