"""How likely a decoder finds texts after others: what several follow is read once.

N pairs, H rows of a batch, T their tokens, M tokens scored, X pairs of a batch, D model width, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgpt.evals.pairs import Pair, Scored
from jaxgpt.inference.by_length import MOST_ROWS, by_length
from jaxgpt.ops.attention import SHARED
from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import whole

AT_ONCE = 512
"""Tokens whose logits over the vocabulary are in memory at a time."""
LONGEST = 1024
"""Tokens of a row to which continuations of a context are added, beyond what the longest of them needs."""
Done = Callable[[list[int], list[Scored]], None]
"""Called with the places of pairs once they are scored, and their scores."""


def score(
    module: nn.Module,
    params: Any,
    pairs: Sequence[Pair],
    limit: int,
    batch_size: int = 32,
    quiet: bool = False,
    done: Done | None = None,
) -> list[Scored]:
    """What the model makes of each continuation after its context, of which the last tokens are read that fit into
    `limit`. Raises ConfigError for a continuation that does not fit by itself.

    Up to `batch_size` contexts go through the model together, each with the continuations that follow it as branches
    of one row.
    """
    whole("batch_size", batch_size, 1, MOST_ROWS)
    for i, pair in enumerate(pairs):
        if len(pair.continuation) > limit:
            raise ConfigError(
                f"continuations: row {i} has {len(pair.continuation)} tokens; the model reads {limit} at most"
            )
    out: list[Scored] = [Scored(0.0, True)] * len(pairs)
    rows = list(_rows(pairs, limit))
    most = max((len(places) for places in rows), default=1)

    def compute(index: np.ndarray, height: int, width: int) -> jax.Array:
        return _score(module, most, params, *_arrays(pairs, [rows[i] for i in index], limit, height, width, most))

    def note(index: list[int], values: np.ndarray) -> None:
        places = [place for i in index for place in rows[i]]
        found = [
            Scored(float(log_prob), bool(greedy))
            for i, of_row in zip(index, values, strict=True)
            for log_prob, greedy in of_row[: len(rows[i])]
        ]
        for place, each in zip(places, found, strict=True):
            out[place] = each
        if done is not None:
            done(places, found)

    lengths = [_length(pairs, places, limit) for places in rows]
    by_length(lengths, batch_size, max(limit, *lengths, 1), compute, "score", quiet, note, fine=True)
    return out


def _rows(pairs: Sequence[Pair], limit: int) -> Iterator[list[int]]:
    """Places of the pairs that are read together: of one context that fits whole in front of all of them."""
    by_context: dict[tuple[int, ...], list[int]] = {}
    for i, pair in enumerate(pairs):
        if len(pair.context) + len(pair.continuation) - 1 > limit:
            yield [i]
        else:
            by_context.setdefault(tuple(pair.context), []).append(i)
    for group in by_context.values():
        start, length = 0, 0
        for end, i in enumerate(group):
            length += len(pairs[i].continuation) - 1
            if end > start and len(pairs[i].context) + length > LONGEST:
                yield group[start:end]
                start, length = end, len(pairs[i].continuation) - 1
        yield group[start:]


def _length(pairs: Sequence[Pair], places: Sequence[int], limit: int) -> int:
    more = sum(len(pairs[i].continuation) - 1 for i in places)
    return (
        min(len(pairs[places[0]].context) + more, limit) if len(places) == 1 else len(pairs[places[0]].context) + more
    )


def _arrays(
    pairs: Sequence[Pair], rows: Sequence[list[int]], limit: int, height: int, width: int, most: int
) -> tuple[np.ndarray | None, ...]:
    """What `_score` reads."""
    branching = most > 1
    tokens_HT = np.zeros((height, width), np.int32)
    pos_HT, segment_HT = np.full((height, width), -1, np.int32), np.zeros((height, width), np.int32)
    tokens = sum(len(pairs[i].continuation) for places in rows for i in places)
    M = max(64, 1 << (tokens - 1).bit_length())
    row_M, at_M, target_M = (np.zeros(M, np.int32) for _ in range(3))
    pair_M = np.full(M, height * most, np.int32)
    scored = 0
    for row, places in enumerate(rows):
        context = pairs[places[0]].context
        if len(places) == 1:  # what is too long loses its beginning
            context = context[max(0, len(context) + len(pairs[places[0]].continuation) - 1 - limit) :]
        end = len(context)
        tokens_HT[row, :end], pos_HT[row, :end], segment_HT[row, :end] = context, np.arange(end), SHARED
        for number, i in enumerate(places):
            ids = pairs[i].continuation
            n, start = len(ids) - 1, end
            end += n
            tokens_HT[row, start:end] = ids[:-1]
            pos_HT[row, start:end] = np.arange(len(context), len(context) + n)
            segment_HT[row, start:end] = number + 1
            own = slice(scored, scored := scored + n + 1)
            row_M[own], target_M[own], pair_M[own] = row, ids, row * most + number
            at_M[own] = [len(context) - 1, *range(start, end)]
    return tokens_HT, *((pos_HT, segment_HT) if branching else (None, None)), row_M, at_M, target_M, pair_M


@partial(jax.jit, static_argnums=(0, 1))
def _score(
    module: nn.Module,
    most: int,
    params: Any,
    tokens_HT: jax.Array,
    pos_HT: jax.Array | None,
    segment_HT: jax.Array | None,
    row_M: jax.Array,
    at_M: jax.Array,
    target_M: jax.Array,
    pair_M: jax.Array,
) -> jax.Array:
    """float32 (H, most, 2): log-probability, and 1 where all tokens are the likeliest. Without positions each row is a
    text; else it branches. Tokens of pair X are nobody's."""
    given, (H, X) = {"params": params}, (len(tokens_HT), len(tokens_HT) * most)
    if pos_HT is None or segment_HT is None:
        hidden_HTD = module.apply(given, tokens_HT, method="hidden")
    else:
        hidden_HTD = module.apply(given, tokens_HT, pos_HT, segment_HT, method="branches")

    def of_token(args: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        hidden_D, target = args
        logits_V = module.apply(given, hidden_D[None, None], method="unembed")[0, 0].astype(jnp.float32)
        return logits_V[target] - jax.nn.logsumexp(logits_V), (jnp.argmax(logits_V) != target).astype(jnp.float32)

    hidden_MD = hidden_HTD[row_M, at_M]
    of_M = jnp.stack(jax.lax.map(of_token, (hidden_MD, target_M), batch_size=min(AT_ONCE, len(target_M))), 1)
    log_prob_X, others_X = jax.ops.segment_sum(of_M, pair_M, X + 1)[:X].T
    return jnp.stack([log_prob_X, (others_X == 0).astype(jnp.float32)], 1).reshape(H, -1, 2)
