"""A stack of equal blocks. Parameters are stacked with the layer as leading axis; the loop over them is a choice."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgpt.nn.block import Block
from jaxgpt.nn.cache import KV
from jaxgpt.nn.layout import Layout
from jaxgpt.ops.patterns import Pattern
from jaxgpt.ops.setting import on

Loop = Literal["scan", "unroll"]
Remat = Literal["none", "block", "dots"]
POLICIES: dict[str, Callable[..., bool]] = {
    "block": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Stack(nn.Module):
    """`num_layers` blocks whose patterns cycle through `patterns`.

    Layer i starts from a key folded with i, so a deeper stack starts with the same first layers; the parameters and the
    results do not depend on `loop` or `remat`.
    """

    block: Block
    num_layers: int
    patterns: tuple[Pattern, ...]
    loop: Loop
    remat: Remat

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, layout: Layout, cache: tuple[KV, ...] | None = None, train: bool = False
    ) -> tuple[jax.Array, tuple[KV, ...] | None]:
        """(B, T, D) -> (B, T, D), and the caches, one a layer, where they were given."""
        block = self.block.clone(parent=None)
        if self.is_initializing():
            params = self.param("layers", self._init, block, x_BTD[:1, :1], layout.bias_table)
        else:  # read without Linen's shape check: decoding passes the layers already split
            params = self.get_variable("params", "layers")
        key = self.make_rng("dropout") if train and on(block.spec.dropout) else None

        def one(p: Any, x: jax.Array, index: Any, pattern: Pattern, held: KV | None) -> tuple[jax.Array, KV | None]:
            rngs = {} if key is None else {"dropout": jax.random.fold_in(key, index)}
            return block.apply({"params": p}, x, layout, pattern, held, train, rngs=rngs)

        if self.remat != "none":
            one = jax.checkpoint(one, policy=POLICIES[self.remat], static_argnums=(3,))
        period = len(self.patterns)
        if self.loop == "scan" and cache is None and self.num_layers % period == 0:

            def body(x: jax.Array, group: Any) -> tuple[jax.Array, None]:
                p, first = group
                for j, pattern in enumerate(self.patterns):
                    x, _ = one(jax.tree.map(lambda a, j=j: a[j], p), x, first + j, pattern, None)
                return x, None

            groups = jax.tree.map(lambda a: a.reshape(-1, period, *a.shape[1:]), params)
            x_BTD, _ = lax.scan(body, x_BTD, (groups, jnp.arange(0, self.num_layers, period)))
            return x_BTD, None
        layers = params if isinstance(params, tuple) else split_layers(params)
        new_cache: list[Any] = []
        for i, p in enumerate(layers):
            held = None if cache is None else cache[i]
            x_BTD, held = one(p, x_BTD, i, self.patterns[i % period], held)
            new_cache.append(held)
        return x_BTD, None if cache is None else tuple(new_cache)

    def _init(self, key: jax.Array, block: Block, x_BTD: jax.Array, bias_table: jax.Array | None) -> Any:
        layout = Layout(pos=jnp.zeros((1,), jnp.int32), bias_table=bias_table)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(self.num_layers))
        return jax.vmap(lambda k: block.init(k, x_BTD, layout, self.patterns[0])["params"])(keys)


def split_layers(stacked: Any) -> tuple[Any, ...]:
    """A tree of (L, ...) arrays -> L trees. The gradient is one concatenation, not L padded sums."""
    leaves, shape = jax.tree.flatten(stacked)
    split = [lax.split(leaf, [1] * leaf.shape[0], axis=0) for leaf in leaves]
    return tuple(jax.tree.unflatten(shape, [part[i][0] for part in split]) for i in range(len(split[0])))
