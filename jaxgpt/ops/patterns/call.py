"""Patterns as a few ordinary attention calls, each of them causal, a causal window, or without any mask.

Fused kernels that know only those masks can then compute the pattern: a call takes some of the row's tokens as queries
and some as keys, side by side in rows and lanes, and the calls' outputs are joined by their log-sums.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.ops.patterns.pattern import Pattern


class Keep(NamedTuple):
    """Of every `period` tokens, `size` from the `first` on. A row is padded at its end to whole periods."""

    first: int
    size: int
    period: int


class Tokens(NamedTuple):
    """Tokens of a row, laid out for a call: B rows of T tokens become B·rows of t tokens, with lanes·X heads for X."""

    keep: tuple[Keep, ...] = ()
    """Which tokens stay, one selection after the other; what one cuts away no later one sees."""
    rows: int = 1
    """Consecutive pieces that become rows of their own."""
    lanes: int = 1
    """Tokens are dealt out to so many lanes in turn, and a lane's become heads of their own: token i goes to lane
    i mod lanes. In memory nothing moves."""
    backwards: bool = False
    """Whether the row is turned round first."""

    def take(self, x_BTX: Any, pad: Callable[..., Any] = np.pad, flip: Callable[..., Any] = np.flip) -> Any:
        """(B, T, X, ...) -> (B·rows, t, lanes·X, ...), zeros where there is no token; `pad` and `flip` are those of
        numpy or of jax.numpy."""
        x = flip(x_BTX, 1) if self.backwards else x_BTX
        for first, size, period in self.keep:
            x = pad(x, [(0, -x.shape[1] % period if axis == 1 else 0) for axis in range(x.ndim)])
            x = x.reshape(x.shape[0], -1, period, *x.shape[2:])[:, :, first : first + size]
            x = x.reshape(x.shape[0], -1, *x.shape[3:])
        return x.reshape(x.shape[0] * self.rows, -1, self.lanes * x.shape[2], *x.shape[3:])

    def positions(self, length: int) -> np.ndarray:
        """int (rows, t, lanes): which token of a row of `length` lies where; -1 where none does."""
        return np.asarray(self.take(np.arange(1, length + 1)[None, :, None])) - 1


class Mask(NamedTuple):
    """Which of a call's keys a query sees, both counted from 0 within a row."""

    causal: bool = True
    """Whether key j is seen by query i only where j ≤ i; else every query sees every key."""
    window: int | None = None
    """Keys that a query sees at most, the i-th and those before it; None: all."""

    def allows(self, i: Any, j: Any) -> Any:
        """Whether query i sees key j: bool, broadcast over int arrays."""
        if not self.causal:
            return i == i + 0 * j
        return j <= i if self.window is None else (j <= i) & (i - j < self.window)


class Call(NamedTuple):
    """A call of attention: queries and keys in equally many rows and lanes, of which each query sees a key or more.

    A query that is no token may see keys that are none; one that is a token never does.
    """

    queries: Tokens
    keys: Tokens
    mask: Mask


class Composed(Pattern):
    """A pattern that says itself which calls it is made of."""

    @abstractmethod
    def calls(self, length: int) -> tuple[Call, ...]:
        """The calls for a row of `length` tokens: no pair is in two of them, and together they are the pattern."""


def span(start: int, stop: int, length: int, backwards: bool = False) -> Tokens:
    """The tokens from `start` up to `stop`, of a row of `length`; beyond its end they are padding."""
    first = length - stop if backwards else start
    keep = () if (first, stop - start) == (0, length) else (Keep(first, stop - start, max(length, stop)),)
    return Tokens(keep, backwards=backwards)


COPIED = 8
"""Keys are cut off where more than one in so many is seen by no query: fewer cost less than copying the others."""


def comb(length: int, first: int, step: int, count: int, ahead: bool = False) -> Call:
    """The keys `first`, `first + step`, ... positions behind the query (before it, if `ahead`), `count` of them.

    Queries are moved by `first`, so that their nearest key is at their own index, and a lane is what `step` connects.
    """
    size = -(-(length if COPIED * first <= length else length - first) // step) * step
    queries, keys = (
        Tokens(span(start, start + size, length).keep, lanes=step, backwards=ahead) for start in (first, 0)
    )
    return Call(queries, keys, Mask(window=count if first + step * count < length else None))


def behind(length: int, window: int, count: int) -> tuple[Call, ...]:
    """The first `count` keys, as seen by the queries at least `window` positions behind them."""
    if window >= length:
        return ()
    keys = span(0, min(count, length - window), length)
    return (Call(span(window, length, length), keys, Mask()),)


def before(length: int, window: int, count: int) -> tuple[Call, ...]:
    """The first `count` queries, as they see the keys at least `window` positions before them: all of them those that
    the last one sees, and the others some more, which are causal when both are turned round."""
    count = min(count, length - window)
    if count <= 0:
        return ()
    shared = Call(span(0, count, length), span(window + count - 1, length, length), Mask(causal=False))
    if count == 1:
        return (shared,)
    queries, keys = (span(start, start + count - 1, length, backwards=True) for start in (0, window))
    return shared, Call(queries, keys, Mask())
