"""Rows of a corpus within a frame, as BERT reads them: one segment, or two of which the second may be another row's.

B rows, T tokens.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


def framed(
    tokens_BT: jax.Array, words_BT: jax.Array, before: tuple[int, ...], behind: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """Tokens between `before` and `behind`, and their words, 0 for both: each row's last tokens make room."""
    T = tokens_BT.shape[1]
    room = max(T - len(before) - len(behind), 0)

    def joined(rows_BT: jax.Array, head: tuple[int, ...], tail: tuple[int, ...]) -> jax.Array:
        first, last = (jnp.full((len(rows_BT), len(part)), jnp.array(part, rows_BT.dtype)) for part in (head, tail))
        return jnp.concatenate([first, rows_BT[:, :room], last], 1)[:, :T]

    return joined(tokens_BT, before, behind), joined(words_BT, (0,) * len(before), (0,) * len(behind))


class Pairs(NamedTuple):
    """A batch of pairs of segments, framed as one row each."""

    tokens_BT: jax.Array
    words_BT: jax.Array
    """As `windows.with_words` numbers them; 0 for what frames the segments."""
    types_BT: jax.Array
    """0 for the first segment and what frames it, 1 for the second."""
    swapped_B: jax.Array
    """bool: the second segment is another row's."""
    partner_B: jax.Array
    """The row that the second segment is from."""


def pair(
    key: jax.Array,
    tokens_BT: jax.Array,
    words_BT: jax.Array,
    swapped: float,
    before: tuple[int, ...],
    behind: tuple[int, ...],
) -> Pairs:
    """Cuts each row at a place of its own, and frames both segments: `before` first second `behind`, with `behind`
    between them too. What no longer fits is dropped at the end.

    A share `swapped` of the second segments comes from another row, of the same place and length, so that neither tells
    them apart. Drawn from `key` alone, so the same on any mesh.
    """
    B, T = tokens_BT.shape
    room = T - len(before) - 2 * len(behind)
    at, which, how_far = jax.random.split(key, 3)
    cut_B1 = jax.random.randint(at, (B, 1), 1, room)
    swapped_B = (jax.random.uniform(which, (B,)) < swapped) & (B > 1)
    shift = jax.random.randint(how_far, (), 1, max(B, 2))
    partner_B = jnp.where(swapped_B, (jnp.arange(B) + shift) % B, jnp.arange(B))
    place_T = jnp.arange(T)
    second_B1 = cut_B1 + len(before) + len(behind)
    inside_BT = place_T - len(before)
    first_BT = (inside_BT >= 0) & (inside_BT < cut_B1)
    later_BT = (place_T >= second_B1) & (place_T < T - len(behind))
    column_BT = jnp.clip(inside_BT - jnp.where(place_T >= second_B1, len(behind), 0), 0, T - 1)

    def joined(x_BT: jax.Array) -> jax.Array:
        own_BT, partner_BT = (jnp.take_along_axis(rows, column_BT, 1) for rows in (x_BT, x_BT[partner_B]))
        return jnp.where(first_BT, own_BT, jnp.where(later_BT, partner_BT, 0))

    frame_BT = jnp.zeros_like(tokens_BT)
    for i, token in enumerate(before):
        frame_BT = jnp.where(place_T == i, token, frame_BT)
    for i, token in enumerate(behind):
        ends_BT = (inside_BT == cut_B1 + i) | (place_T == T - len(behind) + i)
        frame_BT = jnp.where(ends_BT, token, frame_BT)
    words = joined(words_BT)
    begins_BT = (words > 0) & (words != jnp.pad(words, ((0, 0), (1, 0)))[:, :-1])
    numbered_BT = jnp.where(words > 0, jnp.cumsum(begins_BT, 1), 0).astype(words_BT.dtype)
    return Pairs(
        jnp.where(first_BT | later_BT, joined(tokens_BT), frame_BT).astype(tokens_BT.dtype),
        numbered_BT,
        (place_T >= second_B1).astype(jnp.int32),
        swapped_B,
        partner_B,
    )
