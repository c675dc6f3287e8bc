"""One layer's keys and values: of the tokens that are past, and of a memory.

A cache has a slot for every token to come, or is a ring of as many slots as its pattern can see: token n then lies in
slot n mod R, and a long row needs no more memory than a short one. Slots in front of the others hold a prefix.
B batch, T new tokens, R slots of a cache, G key/value heads, K head width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgpt.nn.layout import Layout, in_front, moved
from jaxgpt.ops.attention import Side
from jaxgpt.ops.sharding import constrain


class KV(NamedTuple):
    """Keys (already rotated) and values, (B, G, R, K)."""

    k: jax.Array
    v: jax.Array


class LayerCache(NamedTuple):
    """The keys and values that one layer keeps of a sequence between calls."""

    past: KV
    """Of the tokens that are past: it grows."""
    memory: KV | None = None
    """Of the sequence that cross-attention sees, (B, G, S, K): constant. None: there is none, or not yet."""


Cache = tuple[LayerCache, ...]
"""Of all layers."""


def extend(cache: KV, new: KV, layout: Layout, prefix: KV | None = None) -> tuple[KV, KV, jax.Array]:
    """The cache with the new tokens (B, G, T, K) written, the keys and values that they may see, and the positions of
    those keys. A prefix (G, n, K) lies in n slots in front of the others, so that seeing both copies neither.

    Several tokens written into a ring at once would push out what the first of them still see, so they see the ring
    as it was, with the new tokens behind it.
    """
    assert layout.cursor is not None and layout.padding is not None
    first = 0 if prefix is None else prefix.k.shape[1]
    R, T = cache.k.shape[2] - first, new.k.shape[2]
    if prefix is not None:
        cache = KV(*(_put_first(old, x) for old, x in zip(cache, prefix, strict=True)))
    grown = KV(*(_write(old, x, layout.cursor, first) for old, x in zip(cache, new, strict=True)))
    if T == 1 or layout.capacity <= R:
        pos = _slot_positions(R, layout.cursor + T - 1, layout)
        return grown, grown, in_front(Side(pos), first).pos
    seen = KV(*(jnp.concatenate([old, x.astype(old.dtype)], 2) for old, x in zip(cache, new, strict=True)))
    pos = jnp.broadcast_to(layout.pos, (cache.k.shape[0], T))
    pos = jnp.concatenate([_slot_positions(R, layout.cursor - 1, layout), pos], 1)
    return grown, seen, in_front(Side(pos), first).pos


def join(prefix: KV, seen: KV) -> KV:
    """Keys and values (G, n, K) in front of those of each row: (B, G, n + S, K), in the latter's dtype."""

    def joined(first_GnK: jax.Array, x_BGSK: jax.Array) -> jax.Array:
        first_BGnK = jnp.broadcast_to(first_GnK.astype(x_BGSK.dtype), (len(x_BGSK), *first_GnK.shape))
        return constrain(jnp.concatenate([first_BGnK, x_BGSK], 2), "heads")

    return KV(joined(prefix.k, seen.k), joined(prefix.v, seen.v))


def squeeze(x_BGRK: jax.Array) -> jax.Array:
    """The array without its row axis where there is one row, and without its head axis where there is one head.

    A loop carries caches so, and `extend` writes into them so: XLA drops such axes from the operands of a product, and
    where that makes an array other than the carried one, each step copies the whole cache (XLA:CPU, jax 0.10.2).
    """
    return lax.squeeze(x_BGRK, _single(x_BGRK))


def _single(x_BGRK: jax.Array) -> tuple[int, ...]:
    return tuple(axis for axis in (0, 1) if x_BGRK.shape[axis] == 1)


def _slot_positions(R: int, last: jax.Array, layout: Layout) -> jax.Array:
    """int32 (B, R): the position in each slot when `last` is the latest token's; negative where there is none."""
    assert layout.padding is not None
    number = last - jnp.mod(last - jnp.arange(R, dtype=jnp.int32), R)
    return moved(jnp.where(number < 0, -1, number - layout.padding[:, None]), layout.virtual)


def _write(old_BGRK: jax.Array, new_BGTK: jax.Array, slot: jax.Array, first: int) -> jax.Array:
    """`old` with the new tokens in the slots from `slot` on, of a ring that has `first` slots in front of it."""
    R, T = old_BGRK.shape[2] - first, new_BGTK.shape[2]
    new_BGTK = new_BGTK.astype(old_BGRK.dtype)
    if T == 1:
        return _put(old_BGRK, new_BGTK, first + slot % R)
    stay = min(R, T)  # of more tokens than the ring holds the last ones stay
    at = first + (slot + T - stay + jnp.arange(stay, dtype=slot.dtype)) % R
    return old_BGRK.at[:, :, at].set(new_BGTK[:, :, T - stay :], mode="promise_in_bounds", unique_indices=True)


def _put_first(old_BGRK: jax.Array, first_GnK: jax.Array) -> jax.Array:
    rows = jnp.broadcast_to(first_GnK.astype(old_BGRK.dtype), (len(old_BGRK), *first_GnK.shape))
    return _put(old_BGRK, rows, jnp.int32(0))


def _put(old_BGRK: jax.Array, new_BGTK: jax.Array, slot: jax.Array) -> jax.Array:
    """`old` with `new` in the T slots from `slot` on."""
    old, zero = squeeze(old_BGRK), jnp.zeros((), slot.dtype)
    start = (*[zero] * (old.ndim - 2), slot, zero)
    new = lax.squeeze(new_BGTK, _single(old_BGRK))
    return lax.expand_dims(lax.dynamic_update_slice(old, new, start), _single(old_BGRK))
