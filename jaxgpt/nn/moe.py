"""Mixture of experts: a feed-forward layer of which each token passes through a part.

B rows, T tokens, D model width, E experts, k choices a token, C places of an expert or a block, S slots (all of them).
"""

from functools import partial
from typing import Annotated, Any, Self

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from jax.sharding import PartitionSpec
from pydantic import Field, NonNegativeFloat, model_validator

from jaxgpt.nn.feed_forward import MLP, FeedForward, Sparse
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.pipeline_layout import PIPELINE
from jaxgpt.ops import routing
from jaxgpt.ops.routing import Routes
from jaxgpt.ops.sharding import constrain, constraining, placement
from jaxgpt.spec.inputs import enabled
from jaxgpt.spec.sizes import Count

FILL, LEAST = 4, 8
"""Where nothing is dropped: blocks that an even share of the choices fills (more waste less on half-full blocks, and
copy weights more often), and the fewest places of a block (fewer leave vector units idle)."""


class MoE(Sparse, kind="moe"):
    """Experts, to `top_k` of which a router sends each token. `top_k` 1 is Switch; 2 with `normalize` GShard, and with
    gated experts that drop nothing Mixtral.

    A token that finds its expert full passes by on the residual stream. Places are counted within a row, so results
    depend neither on the mesh nor on the other rows; earlier tokens come first, so a later token changes nothing before
    it. But the number of places grows with the row: tokens that a long row drops, a short one may not, nor does cached
    generation, which sees one at a time. Without a bound (`capacity_factor` null) all of them agree.

    Sows `losses/balance` and `losses/router_z`, weighted, means over the rows whatever their tokens weigh. The router
    is computed in float32 (Fedus et al. 2022, section 2.4). Input jitter is not covered: it costs quality, and the
    z-loss steadies as well (Zoph et al. 2022, section 3).
    """

    citation = "Shazeer et al. 2017; Lepikhin et al. 2021 (GShard); Fedus et al. 2022 (Switch), section 2"
    inputs = switches = ("balance_weight", "z_weight")
    num_experts: Count = 8
    top_k: int = Field(default=1, gt=0, le=128)
    """Experts of a token."""
    expert: FeedForward = MLP()
    """What each expert is."""
    normalize: bool = False
    """Whether the gates of a token's experts are divided by their sum."""
    capacity_factor: Annotated[float, Field(gt=0, le=1e6)] | None = 1.25
    """Places of an expert over its even share of a row's choices; null: all who come get one (Gale et al. 2023)."""
    balance_weight: NonNegativeFloat = 0.01
    """Of the loss that evens out the experts' shares: 1 when even, num_experts when one has all (Fedus et al. 2022,
    equation 4)."""
    z_weight: NonNegativeFloat = 1e-3
    """Of the loss on log²Z of the router (Zoph et al. 2022, equation 5)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        problems = []
        if self.top_k > self.num_experts:
            problems.append(f"top_k {self.top_k} exceeds num_experts {self.num_experts}; lower one")
        if self.normalize and self.top_k == 1:
            problems.append(
                "normalize makes the gate of a single expert 1 and the router untrained; use top_k 2 or more"
            )
        if isinstance(self.expert, Sparse):
            problems.append(f"expert cannot be {self.expert.kind}, which has experts of its own; use mlp or gated")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def share(self) -> float:
        """A token is sent to `top_k` of `num_experts`."""
        return self.top_k / self.num_experts

    def module(self, linears: Linears, name: str) -> nn.Module:
        """Parameters `router/weight` (D, E), and the expert's own below `experts`, leading with E."""
        return _MoE(self, linears, name=name)


class _MoE(nn.Module):
    spec: MoE
    linears: Linears

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        spec = self.spec
        expert = spec.expert.module(self.linears.within(*self.path, "experts"), "expert").clone(parent=None)
        if self.is_initializing():
            params = self.param("experts", self._init, expert, x_BTD[:1, :1])
        else:  # Linen's shape check would trace the start of every expert again
            params = self.get_variable("params", "experts")
        router = self.linears._replace(dtype=jnp.float32)(spec.num_experts, "router", bias=False)
        with jax.default_matmul_precision("highest"):
            logits_BTE = router(x_BTD.astype(jnp.float32))
        routes = routing.route(logits_BTE, spec.top_k, spec.normalize)
        if not self.is_initializing():
            self._sow(logits_BTE, routes)
        apply = partial(_experts, expert)
        if spec.capacity_factor is None:
            return _dropless(apply, params, x_BTD, routes)
        places = routing.capacity(x_BTD.shape[1], spec.num_experts, spec.top_k, spec.capacity_factor)
        return _bounded(apply, params, x_BTD, routes, places)

    def _init(self, key: jax.Array, expert: nn.Module, x_BTD: jax.Array) -> Any:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(self.spec.num_experts))
        return jax.vmap(lambda k: expert.init(k, x_BTD)["params"])(keys)

    def _sow(self, logits_BTE: jax.Array, routes: Routes) -> None:
        if enabled(self.spec.balance_weight):
            value_B = jax.vmap(routing.balance)(logits_BTE, routes.expert)
            self.sow("losses", "balance", self.spec.balance_weight * jnp.mean(value_B))
        if enabled(self.spec.z_weight):
            self.sow("losses", "router_z", self.spec.z_weight * routing.router_z(logits_BTE))


def _experts(expert: nn.Module, params: Any, x_EBCD: jax.Array) -> jax.Array:
    """Each expert on its tokens. Names of values are for whole layers, so inside the compiler decides."""
    with constraining(None):
        return jax.vmap(lambda p, x: expert.apply({"params": p}, x))(params, x_EBCD)


def _bounded(apply: Any, params: Any, x_BTD: jax.Array, routes: Routes, places: int) -> jax.Array:
    """Tokens travel: where experts are split over devices, both changes of layout are an all-to-all."""
    E = jax.tree.leaves(params)[0].shape[0]
    slots = jax.vmap(lambda expert_Tk: routing.bounded(expert_Tk, E, places))(routes.expert)
    x_BSD = constrain(jax.vmap(routing.dispatch)(x_BTD, slots), "slots")
    x_EBCD = constrain(rearrange(x_BSD, "b (e c) d -> e b c d", e=E), "experts")
    y_EBCD = constrain(apply(params, x_EBCD), "experts")
    y_BSD = constrain(rearrange(y_EBCD, "e b c d -> b (e c) d"), "slots")
    return jax.vmap(routing.combine)(y_BSD, routes.gate, slots)


def _dropless(apply: Any, params: Any, x_BTD: jax.Array, routes: Routes) -> jax.Array:
    """Experts travel: every device gathers them, as FSDP gathers weights, and keeps its tokens, of which nobody knows
    while compiling how many go where."""
    current = placement()
    spec = None if current is None else current.spec("activations/sublayer", x_BTD.shape)
    axes = {name for part in spec or () for name in ((part,) if isinstance(part, str) else part or ())}
    if current is None or not axes:
        return _own(apply, params, x_BTD, routes)
    return jax.shard_map(
        partial(_own, apply),
        mesh=current.mesh,
        in_specs=(PartitionSpec(), spec, spec),
        out_specs=spec,
        axis_names=axes | {PIPELINE},  # a pipeline maps over its stages, on the axis that holds them,
        check_vma=False,  # which jax's check of what varies over axes cannot follow
    )(params, x_BTD, routes)


def _own(apply: Any, params: Any, x_BTD: jax.Array, routes: Routes) -> jax.Array:
    """All tokens as one group, sorted into blocks that each belong to one expert."""
    x_TD, expert_Tk = x_BTD.reshape(-1, x_BTD.shape[-1]), routes.expert.reshape(-1, routes.expert.shape[-1])
    E = jax.tree.leaves(params)[0].shape[0]
    size = max(LEAST, -(-expert_Tk.size // (FILL * E)))
    slots, expert_N = routing.blocked(expert_Tk, E, size)

    @partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_saveable)  # the copies of the weights are not kept
    def blocks(params: Any, x_N1CD: jax.Array) -> jax.Array:
        return apply(jax.tree.map(lambda leaf: leaf[expert_N], params), x_N1CD)

    y_N1CD = blocks(params, rearrange(routing.dispatch(x_TD, slots), "(n c) d -> n 1 c d", c=size))
    y_SD = rearrange(y_N1CD, "n 1 c d -> (n c) d")
    return routing.combine(y_SD, routes.gate.reshape(expert_Tk.shape), slots).reshape(x_BTD.shape)
