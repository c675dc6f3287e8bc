"""What a decoder is asked of texts: how likely one is after another. As ids."""

from typing import Any, NamedTuple

from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import strings
from jaxgpt.spec.errors import quote
from jaxgpt.text import Codec


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
    distinct = {text: number for number, text in enumerate(dict.fromkeys(firsts))}
    ids_of = codec.encode_batch(list(distinct))
    wholes = codec.encode_batch([text + more for text, more in zip(before, after, strict=True)])
    pairs = []
    for row, (text, ids) in enumerate(zip(firsts, wholes, strict=True)):
        first = ids_of[distinct[text]]
        if len(ids) <= len(first):
            raise ConfigError(f"continuations: row {row}, {quote(after[row])}, adds no token to its context")
        begin = [] if codec.bos is None else [codec.bos]
        if not (begin or first):
            begin = [first_id(codec, f"contexts: row {row} is empty")]
        pairs.append(Pair([*begin, *ids[: len(first)]], ids[len(first) :]))
    return pairs


def first_id(codec: Codec, why: str) -> int:
    """The token that stands in front of a text's first: the vocabulary's own, or else end-of-text. Raises ConfigError,
    which says `why` it is asked for, where the vocabulary has neither."""
    token = codec.eot if codec.bos is None else codec.bos
    if token is None:
        raise ConfigError(f"{why}, and the vocabulary has no token to begin a text with")
    return token
