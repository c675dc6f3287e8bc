"""A stack of equal blocks. Parameters are stacked with the layer as leading axis; the loop over them is a choice."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgpt.nn.adapter import Adapter, Place
from jaxgpt.nn.block import Block
from jaxgpt.nn.cache import KV, Cache, LayerCache
from jaxgpt.nn.layout import Layout, Memory
from jaxgpt.nn.pipeline import Pipelined, pipeline
from jaxgpt.nn.remat import Remat, recomputed
from jaxgpt.nn.sown import Losses, sown_losses
from jaxgpt.ops.patterns import Pattern
from jaxgpt.ops.positions import Biased

Loop = Literal["scan", "unroll"] | Pipelined
Layer = Callable[
    [Any, jax.Array, Any, Pattern, LayerCache | None, int | None], tuple[jax.Array, LayerCache | None, Losses]
]
"""Parameters, (B, T, D), index, pattern and cache of one layer to its output, its cache and its auxiliary losses. The
parameters, with the prefix or None, are the layer's own, or those of a group of layers and its place among them."""


class Stack(nn.Module):
    """`num_layers` blocks whose patterns cycle through `patterns`.

    Parameters `layers`, and `bias` (H, ...) where positions bias the scores by a trained table, one for all layers;
    below `adapter` those of a prefix.
    Layer i starts from a key folded with i, so a deeper stack starts with the same first layers; the parameters and the
    results do not depend on `loop` or `remat`. In a pipeline dropout is drawn row by row, as within `by_row`.

    Scalars that a block sows into `losses` are summed over the layers by the last name of their path, and sown again by
    the stack. In a pipeline they are the mean over the microbatches, as with accumulated gradients.
    """

    block: Block
    num_layers: int
    patterns: tuple[Pattern, ...]
    loop: Loop
    remat: Remat
    adapter: Adapter | None = None
    """What may put keys and values beside the layers' own."""

    @nn.compact
    def __call__(
        self,
        x_BTD: jax.Array,
        layout: Layout,
        cache: Cache | None = None,
        train: bool = False,
        every: bool = False,
    ) -> tuple[jax.Array, Cache | None]:
        """(B, T, D) -> (B, T, D), and the caches, one a layer, where they were given.

        `every`: instead of the last layer's output those of all, (L, B, T, D); not in a pipeline, whose stages hold no
        other's.
        """
        block, position = self.block.clone(parent=None), self.block.spec.position
        biased = position if isinstance(position, Biased) else None
        start_H = None if biased is None else jnp.asarray(biased.table(block.spec.num_heads))
        if self.is_initializing():
            params = self.param("layers", self._init, block, x_BTD[:1, :1], start_H, layout.memory is not None)
        else:  # read without Linen's shape check: decoding passes the layers already split
            params = self.get_variable("params", "layers")
        # Declared last: an earlier parameter would change how the layers start.
        bias_H = self.param("bias", lambda _: start_H) if biased and biased.trained else start_H
        layers = params, self._prefix()
        key = self.make_rng("dropout") if train and self.has_rng("dropout") else None

        def layer(layout: Layout, loop: Literal["scan", "unroll"], repeat: jax.Array | None = None) -> Layer:
            def apply(
                p: Any, x: jax.Array, index: Any, pattern: Pattern, cache: LayerCache | None, place: int | None
            ) -> Any:
                if place is not None:  # picked within what is recomputed, or a scan would save every layer's again
                    p = jax.tree.map(lambda a: a[place], p)
                if repeat is not None:
                    p = jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, repeat, keepdims=False), p)
                p, prefix = p
                rngs = {} if key is None else {"dropout": jax.random.fold_in(key, index)}
                (x, cache), sown = block.apply(
                    {"params": p}, x, layout, pattern, cache, train, bias_H, prefix, rngs=rngs, mutable=["losses"]
                )
                return x, cache, sown_losses(sown)

            return recomputed(apply, self.remat, loop, isinstance(self.loop, Pipelined))

        def stage(p: Any, x: jax.Array, layout: Layout, first: Any, repeat: Any) -> tuple[jax.Array, Losses]:
            assert isinstance(self.loop, Pipelined)
            apply = layer(layout, self.loop.layers, repeat)
            if self.loop.layers == "scan":
                return _scan(apply, p, x, first, self.patterns, False)
            x, _, losses = _unroll(apply, split_layers(p), x, first, self.patterns, None, False)
            return x, losses

        if cache is None and isinstance(self.loop, Pipelined) and not every:
            x_BTD, losses = pipeline(stage, layers, x_BTD, layout, self.loop, self.remat == "stage")
        elif cache is None and self.loop == "scan" and self.num_layers % len(self.patterns) == 0:
            x_BTD, losses = _scan(layer(layout, "scan"), layers, x_BTD, 0, self.patterns, every)
        else:
            each = _each(*layers) if isinstance(params, tuple) else split_layers(layers)
            x_BTD, cache, losses = _unroll(layer(layout, "unroll"), each, x_BTD, 0, self.patterns, cache, every)
        for name, total in losses.items():
            self.sow("losses", name, total)
        return x_BTD, cache

    def _prefix(self) -> KV | None:
        """(L, G, n, K): what an adapter puts beside the keys and values of the layers."""
        if self.adapter is None:
            return None
        place, spec = Place("/".join(self.path), name="adapter"), self.block.spec
        return place(self.adapter.keys_and_values, self.num_layers, spec.kv_heads, spec.head_width)

    def _init(self, key: jax.Array, block: Block, x_BTD: jax.Array, bias_H: jax.Array | None, memory: bool) -> Any:
        pos = jnp.zeros((1,), jnp.int32)
        layout = Layout(pos, memory=Memory(x_BTD, pos) if memory else None)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(self.num_layers))
        return jax.vmap(lambda k: block.init(k, x_BTD, layout, self.patterns[0], bias_H=bias_H)["params"])(keys)


def split_layers(stacked: Any) -> tuple[Any, ...]:
    """A tree of (L, ...) arrays -> L trees. The gradient is one concatenation, not L padded sums."""
    leaves, shape = jax.tree.flatten(stacked)
    split = [lax.split(leaf, [1] * leaf.shape[0], axis=0) for leaf in leaves]
    return tuple(jax.tree.unflatten(shape, [part[i][0] for part in split]) for i in range(len(split[0])))


def _each(layers: tuple[Any, ...], prefix_L: KV | None) -> list[tuple[Any, KV | None]]:
    """Each layer's parameters with its prefix, where the former are apart already."""
    prefixes = [None] * len(layers) if prefix_L is None else split_layers(prefix_L)
    return list(zip(layers, prefixes, strict=True))


def unstack(params: Any) -> Any:
    """Parameters with the layers of all stacks apart, as decoding wants them: a loop that split them would copy all in
    each turn. Those whose layers are apart already are returned as they are, so do it once when generating often."""
    return params if _is_unstacked(params) else jax.jit(_unstack)(params)


def overlay(under: Any, over: Any) -> Any:
    """Parameters whose layers are apart, with those of a second such tree beside them or in their place."""
    if isinstance(under, tuple) and isinstance(over, tuple):
        return tuple(overlay(a, b) for a, b in zip(under, over, strict=True))
    if not isinstance(under, Mapping) or not isinstance(over, Mapping):
        return over
    return {**under, **{name: overlay(under[name], tree) if name in under else tree for name, tree in over.items()}}


def _is_unstacked(params: Any) -> bool:
    if not isinstance(params, Mapping):
        return True
    return all(isinstance(tree, tuple) if name == "layers" else _is_unstacked(tree) for name, tree in params.items())


def _unstack(params: Any) -> Any:
    if not isinstance(params, Mapping):
        return params
    return {name: split_layers(tree) if name == "layers" else _unstack(tree) for name, tree in params.items()}


def _scan(
    layer: Layer, params: Any, x: jax.Array, first: Any, patterns: tuple[Pattern, ...], every: bool
) -> tuple[jax.Array, Losses]:
    """Layers `first`, `first` + 1, ... of a tree of (layers, ...): as many in one turn as there are patterns."""
    period = len(patterns)

    def body(x: jax.Array, group: Any) -> tuple[jax.Array, tuple[Losses, list[jax.Array]]]:
        p, index = group
        losses, outputs = [], []
        for j, pattern in enumerate(patterns):
            x, _, sown = layer(p, x, index + j, pattern, None, j)
            losses.append(sown)
            outputs.append(x)
        return x, (_sum(losses), outputs if every else [])

    groups = jax.tree.map(lambda a: a.reshape(-1, period, *a.shape[1:]), params)
    turns = jax.tree.leaves(groups)[0].shape[0]
    x, (losses, outputs) = lax.scan(body, x, (groups, first + jnp.arange(0, turns * period, period)))
    if every:
        x = jnp.stack(outputs, 1).reshape(turns * period, *x.shape)
    return x, jax.tree.map(lambda each: each.sum(0), losses)


def _unroll(
    layer: Layer,
    layers: Sequence[Any],
    x: jax.Array,
    first: Any,
    patterns: tuple[Pattern, ...],
    cache: Any,
    every: bool,
) -> tuple[jax.Array, Cache | None, Losses]:
    grown, losses, outputs = [], [], []
    for i, p in enumerate(layers):
        own = None if cache is None else cache[i]
        x, extended, sown = layer(p, x, first + i, patterns[i % len(patterns)], own, None)
        grown.append(extended)
        losses.append(sown)
        outputs.append(x)
    x = jnp.stack(outputs) if every else x
    return x, None if cache is None else tuple(grown), _sum(losses)  # type: ignore[arg-type]


def _sum(losses: list[Losses]) -> Losses:
    """Over layers; all sow the same names."""
    return jax.tree.map(lambda *each: sum(each[1:], each[0]), *losses)
