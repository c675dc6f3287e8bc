"""Pipeline parallelism over stacked layers, in one program: Xu et al. 2021 (GSPMD), section 3.3.

All stages are computed at once, by `vmap` over an axis that the mesh splits; between two ticks their outputs move on by
one stage, which the compiler makes a permute between neighbours. Stage s works at tick t on item t - s; before its
first and after its last item it computes on rows that are nobody's, and that is the bubble.

GPipe (Huang et al. 2019) is `repeats` = 1. With more, a stage holds that many groups of layers, far apart, and rows
come round as often (Narayanan et al. 2021, section 2.2, interleaved stages): the bubble shrinks as often. The backward
pass is the loop transposed, so it comes after all of the forward pass, unlike 1F1B: what is kept for it grows with the
microbatches, but is what the batch would need without a pipeline; with `remat: stage` it is the input of each stage
for each microbatch and nothing else.

What a tick does besides is done as often as there are ticks: gathers of weights that ZeRO-3 splits, and the sums of
their gradients over rows. Stage 1 of ZeRO has none of the former. With repeats and no remat each tick keeps the weights
that it picked.

S stages, M microbatches, R repeats, K layers of one stage in one repeat: S·R·K layers. B rows, b = B / M, T tokens,
D model width.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgpt.nn.layout import Layout, Memory
from jaxgpt.nn.pipeline_layout import PIPELINE, group_by_stage
from jaxgpt.nn.sown import Losses
from jaxgpt.ops.random_masks import by_row, rows_of
from jaxgpt.ops.sharding import constrain, placement
from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import Count, Layers

Stage = Callable[[Any, jax.Array, Layout, jax.Array, jax.Array | None], tuple[jax.Array, Losses]]
"""Parameters (K, ...), rows (b, T, D), their layout, the index of the first layer and of the repeat.
With repeats the parameters are (K, R, ...) and the stage takes those of its repeat, inside what it recomputes."""


class Pipelined(Spec):
    """The layers run as a pipeline. The number of layers is a multiple of stages x repeats, and the rows of a batch
    divide into microbatches."""

    stages: Count
    microbatches: Count
    repeats: Layers = 1
    """Rounds that rows make; more than 1 needs as many microbatches as stages."""
    layers: Literal["scan", "unroll"] = "scan"
    """The loop over the layers within a stage."""


def bubble(stages: int, microbatches: int, repeats: int = 1) -> float:
    """Share of the time in which a stage has nothing to do: (S - 1) / (M·R + S - 1)."""
    return (stages - 1) / (microbatches * repeats + stages - 1)


def pipeline(
    stage: Stage, params: Any, x_BTD: jax.Array, layout: Layout, how: Pipelined, remat: bool
) -> tuple[jax.Array, Losses]:
    """(B, T, D) through all layers of `params`, a tree of (S·R·K, ...); the auxiliary losses are summed over layers and
    averaged over microbatches. `remat`: the backward pass recomputes stages from their inputs.

    Microbatches wait in `slots`, of which the first stage reads and into which the last one's output goes; only those
    beside the first stage hold anything of use. Entering and leaving is one sum over the stages for all rows together.
    """
    S, M, R = how.stages, how.microbatches, how.repeats
    params_S = jax.tree.map(partial(group_by_stage, S=S, R=R), params)
    K = jax.tree.leaves(params)[0].shape[0] // (S * R)
    x_MbTD = _cut(x_BTD, M)
    parted = _with_rows(layout, partial(_cut, M=M))
    rows_Mb = _cut(rows_of(x_BTD.shape[0]), M)
    index_S = jnp.arange(S)
    first_S = (index_S == 0).reshape(S, 1, 1, 1)

    def work(p: Any, x_bTD: jax.Array, s: jax.Array, t: jax.Array) -> tuple[jax.Array, Losses]:
        item = jnp.clip(t - s, 0, M * R - 1)
        part, repeat = item % M, item // M
        own = _with_rows(parted, partial(_at, i=part))
        with by_row(_at(rows_Mb, part)):  # a row drops the same in whichever microbatch it goes
            x_bTD, losses = stage(p, x_bTD, own, (repeat * S + s) * K, repeat if R > 1 else None)
        return x_bTD, jax.tree.map(lambda loss: jnp.where(item == t - s, loss, 0), losses)

    current = placement()
    axis = PIPELINE if current is not None and current.size(PIPELINE) > 1 else None
    all_stages = jax.vmap(jax.checkpoint(work) if remat else work, (0, 0, 0, None), spmd_axis_name=axis)

    def tick(state: tuple[jax.Array, jax.Array], t: jax.Array) -> tuple[tuple[jax.Array, jax.Array], Losses]:
        x_SbTD, slots_SMbTD = state
        waiting_SbTD, slots_SMbTD = _take(slots_SMbTD, t % M)
        x_SbTD, losses = all_stages(params_S, jnp.where(first_S, waiting_SbTD, x_SbTD), index_S, t)
        x_SbTD = _to_next(constrain(x_SbTD, "stages"))
        # What leaves the last stage before anything came through goes where the first stage has just read.
        slot = jnp.where(t < S - 1, t, t - (S - 1)) % M
        return (x_SbTD, lax.dynamic_update_index_in_dim(slots_SMbTD, x_SbTD, slot, 1)), losses

    slots_SMbTD = _constrain_slots(jnp.broadcast_to(x_MbTD, (S, *x_MbTD.shape)))
    # The bubble works on real rows, so that it cannot make a NaN, which no mask would keep out of the gradient.
    start_SbTD = lax.stop_gradient(slots_SMbTD[:, 0])
    (_, slots_SMbTD), losses = lax.scan(tick, (start_SbTD, slots_SMbTD), jnp.arange(M * R + S - 1))
    x_MbTD = jnp.where(first_S[:, None], _constrain_slots(slots_SMbTD), 0).sum(0)
    return _uncut(x_MbTD), jax.tree.map(lambda each: each.sum() / M, losses)


def _with_rows(layout: Layout, change: Callable[[jax.Array], jax.Array]) -> Layout:
    """The layout with that done to all that it has for each row: all but positions (T,) that rows share."""

    def changed(x: jax.Array | None) -> Any:
        return x if x is None or x.ndim == 1 else change(x)

    memory = None if layout.memory is None else Memory(*map(changed, layout.memory))
    return layout._replace(pos=changed(layout.pos), segment=changed(layout.segment), memory=memory)


def _constrain_slots(slots_SMbTD: jax.Array) -> jax.Array:
    return jax.vmap(partial(constrain, name="stages"), 1, 1)(slots_SMbTD)


def _cut(x: jax.Array, M: int) -> jax.Array:
    """(B, ...) -> (M, b, ...). Neighbours go to different microbatches: every device keeps a share of each."""
    return x.reshape(-1, M, *x.shape[1:]).swapaxes(0, 1)


def _uncut(x: jax.Array) -> jax.Array:
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])


def _at(x: jax.Array, i: jax.Array) -> jax.Array:
    return lax.dynamic_index_in_dim(x, i, keepdims=False)


@jax.custom_vjp
def _take(slots: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
    """slots[:, i], and the slots. Threaded through, the gradient is written into one place, not added to all."""
    return lax.dynamic_index_in_dim(slots, i, 1, keepdims=False), slots


def _take_forward(slots: jax.Array, i: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    return _take(slots, i), i


def _take_backward(i: jax.Array, grads: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, np.ndarray]:
    taken, slots = grads
    taken = taken + lax.dynamic_index_in_dim(slots, i, 1, keepdims=False)
    return lax.dynamic_update_index_in_dim(slots, taken, i, 1), np.zeros((), jax.dtypes.float0)


_take.defvjp(_take_forward, _take_backward)


@jax.custom_vjp
def _to_next(x: jax.Array) -> jax.Array:
    """(S, ...): stage s to s + 1, the last to the first. The compiler knows this form, but not its plain transpose."""
    return jnp.concatenate([x[-1:], x[:-1]])


_to_next.defvjp(lambda x: (_to_next(x), None), lambda _, grad: (jnp.concatenate([grad[1:], grad[:1]]),))
