"""How likely a decoder finds texts after others. N pairs, H rows of a batch, C tokens scored in a row, V vocabulary."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgpt.inference.by_length import MOST_ROWS, by_length, padded
from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import strings, whole
from jaxgpt.spec.errors import quote
from jaxgpt.text import Codec

AT_ONCE = 512
"""Tokens whose logits over the vocabulary are in memory at a time."""


class Scored(NamedTuple):
    """What a model makes of a text after another."""

    log_prob: float
    """Nats: the sum over the text's tokens."""
    greedy: bool
    """Whether each of its tokens is the likeliest in its place: what greedy writing would write."""


class Pair(NamedTuple):
    """Ids: what is read, and what of it is scored."""

    context: list[int]
    continuation: list[int]


def encode_pairs(codec: Codec, contexts: Any, continuations: Any) -> list[Pair]:
    """Texts as ids, as lm-eval's `_encode_pair` has them: context and continuation are encoded as one text, and of its
    tokens those are the context's that it has alone. Spaces at its end belong to what follows, where vocabularies have
    them.

    A context begins with the token that every text starts with, where the vocabulary has one; an empty context is
    end-of-text where it has none. Raises ConfigError naming the row that cannot be.
    """
    if isinstance(contexts, str) or isinstance(continuations, str):
        raise ConfigError("contexts, continuations: expected a list of texts, and as many continuations")
    before, after = strings("contexts", contexts), strings("continuations", continuations)
    if len(before) != len(after):
        raise ConfigError(f"continuations: {len(after)} for {len(before)} contexts; expected one for each")
    firsts = [text.rstrip() for text in before]
    wholes = codec.encode_batch([text + more for text, more in zip(before, after, strict=True)])
    pairs = []
    for row, (first, ids) in enumerate(zip(codec.encode_batch(firsts), wholes, strict=True)):
        if len(ids) <= len(first):
            raise ConfigError(f"continuations: row {row}, {quote(after[row])}, adds no token to its context")
        begin = [] if codec.bos is None else [codec.bos]
        if not (begin or first):
            if codec.eot is None:
                raise ConfigError(f"contexts: row {row} is empty, and the vocabulary has no token to begin a text with")
            begin = [codec.eot]
        pairs.append(Pair([*begin, *ids[: len(first)]], ids[len(first) :]))
    return pairs


def score(
    module: nn.Module, params: Any, pairs: Sequence[Pair], limit: int, batch_size: int = 32, quiet: bool = False
) -> list[Scored]:
    """What the model makes of each continuation after its context, of which the last tokens are read that fit into
    `limit`. Raises ConfigError for a continuation that does not fit by itself."""
    whole("batch_size", batch_size, 1, MOST_ROWS)
    for row, pair in enumerate(pairs):
        if len(pair.continuation) > limit:
            raise ConfigError(
                f"continuations: row {row} has {len(pair.continuation)} tokens; the model reads {limit} at most"
            )
    rows = [[*pair.context, *pair.continuation][-limit - 1 :] for pair in pairs]

    def compute(index: np.ndarray, height: int, width: int) -> jax.Array:
        C = padded(max(len(pairs[i].continuation) for i in index), limit)
        tokens_HT = np.zeros((height, width), np.int32)
        at_HC, target_HC = np.zeros((height, C), np.int32), np.zeros((height, C), np.int32)
        own_HC = np.zeros((height, C), np.float32)
        for place, i in enumerate(index):
            ids, n = rows[i], len(pairs[i].continuation)
            tokens_HT[place, : len(ids) - 1] = ids[:-1]
            at_HC[place, :n] = np.arange(len(ids) - 1 - n, len(ids) - 1)
            target_HC[place, :n], own_HC[place, :n] = ids[-n:], 1
        return _score(module, params, tokens_HT, at_HC, target_HC, own_HC)

    out = by_length([len(row) - 1 for row in rows], batch_size, limit, compute, "score", quiet)
    return [] if out is None else [Scored(float(log_prob), bool(greedy)) for log_prob, greedy in out]


@partial(jax.jit, static_argnums=0)
def _score(
    module: nn.Module, params: Any, tokens_HT: jax.Array, at_HC: jax.Array, target_HC: jax.Array, own_HC: jax.Array
) -> jax.Array:
    """float32 (H, 2): log-probability, and 1 where all tokens are the likeliest."""
    hidden_HTD = module.apply({"params": params}, tokens_HT, method="hidden")
    hidden_HCD = jnp.take_along_axis(hidden_HTD, at_HC[..., None], 1)

    def row(args: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        hidden_CD, target_C, own_C = args
        logits_CV = module.apply({"params": params}, hidden_CD[None], method="unembed")[0].astype(jnp.float32)
        of_target_C = jnp.take_along_axis(logits_CV, target_C[:, None], 1)[:, 0]
        log_prob_C = of_target_C - jax.nn.logsumexp(logits_CV, -1)
        greedy = jnp.all((jnp.argmax(logits_CV, -1) == target_C) | (own_C == 0))
        return jnp.stack([jnp.sum(log_prob_C * own_C), greedy.astype(jnp.float32)])

    return jax.lax.map(row, (hidden_HCD, target_HC, own_HC), batch_size=max(1, AT_ONCE // at_HC.shape[1]))
