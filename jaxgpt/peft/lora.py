"""Low-rank adaptation. I inputs and O outputs of a projection, r rank, R rows that exist."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from jaxgpt.nn.adapter import Adapter, Place
from jaxgpt.nn.affine import Affine
from jaxgpt.nn.dropout import Dropout
from jaxgpt.ops.lookup import lookup
from jaxgpt.ops.matmul import project
from jaxgpt.peft.by_rule import Factors, Widths, number_at, rules
from jaxgpt.peft.lengths import column_norms, summed_norms
from jaxgpt.peft.targets import adapted, projections, unmet
from jaxgpt.spec import ConfigError
from jaxgpt.spec.inputs import enabled
from jaxgpt.spec.rules import Rule, names
from jaxgpt.spec.sizes import Width
from jaxgpt.text import Codec

QKV = ("q", "k", "v")
TABLE = "embed/token"
DROPPED = ("blocks/", "text_head/", TABLE)
"""Where paths of what is called with an rng for dropout start, or of what drops nothing in any case."""


class LoRA(Adapter, kind="lora"):
    """Adds (α/r)·x A B to the projections that `targets` name: A (I, r) starts uniform within ±1/√I, B (r, O) at 0. To
    the token table, `embed/token`, it adds (α/r)·A B: A (V, r) starts at 0, B (r, D) normal, as in microsoft/LoRA.

    Parameters `a`, `b`; with `dora` `magnitude` (O,), with `bias` `bias` (O,).
    """

    citation = "Hu et al. 2021 (LoRA), section 4.1; Liu et al. 2024 (DoRA), section 4; Kalajdzievski 2023 (rsLoRA)"
    switches = ("dropout",)
    targets: Annotated[tuple[Rule, ...], Field(min_length=1)] = ("attention/[qv]$",)
    """Regular expressions over paths of projections (`blocks/layers/attention/q`): those in whose path one is found."""
    rank: Width = 8
    """r."""
    alpha: PositiveFloat = 16.0
    """α."""
    rank_pattern: Widths = ()
    """Other ranks by rules over paths: `{attention/q$: 16}`. The first rule found counts."""
    alpha_pattern: Factors = ()
    """Other α in the same way."""
    rslora: bool = False
    """Whether the sum is scaled by α/√r, so that its size does not fall with the rank (rsLoRA)."""
    dropout: NonNegativeFloat = Field(default=0.0, lt=1)
    """Share of x that A does not see in training; of a table's rows nothing is dropped."""
    dora: bool = False
    """Whether W + (α/r)·A B gives columns their directions alone, and their lengths are parameters, which start as W's
    (DoRA). The gradient takes the columns' own lengths as constants (section 4.3)."""
    bias: bool = False
    """Whether B has a bias, which starts at 0."""
    fused_qkv: bool = False
    """Whether queries, keys and values share one A, that of `q`, as where one matrix makes all three: GPT-2 in
    huggingface/peft. Else each has its own, as in microsoft/LoRA."""
    room: Width | None = None
    """R, rows of A and B that exist, of which the first `rank` count: then runs of different rank are one program, as
    of different α in any case. Optimisers that look at whole matrices see the other rows too, as zeros. None: r."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.room is not None and self.room < self.rank:
            raise ValueError(f"room {self.room} is below rank {self.rank}; raise it")
        return self

    @property
    def open_inputs(self) -> tuple[str, ...]:
        """α, dropout, and the rank where there is room for others."""
        return ("alpha", "dropout") if self.room is None else ("alpha", "dropout", "rank")

    def project(self, place: Place, x: jax.Array, affine: Affine) -> jax.Array:
        """x W + b + (α/r)·x A B, where targets name the projection."""
        if not names(self.targets, place.at):
            return affine(x)
        a_IR, b_RO, scale = self._factors(place, affine)
        bias_O = place.param("bias", nn.initializers.zeros, (affine.shape[1],), jnp.float32) if self.bias else None
        drops = enabled(self.dropout) and place.has_rng("dropout")
        seen = Dropout(self.dropout)(x, deterministic=False) if drops else x
        low = (project(seen, a_IR.astype(x.dtype)) * scale).astype(x.dtype)
        delta = Affine(b_RO, None if bias_O is None else scale * bias_O, affine.dtype, affine.beyond)(low)
        if not self.dora:
            return affine(x) + delta
        magnitude_O = place.param("magnitude", lambda _: column_norms(affine.weight_IO))
        norm_O = jax.lax.stop_gradient(summed_norms(affine.weight_IO, a_IR, b_RO, scale))
        # In this form exactly 1 where both are equal: a plain quotient is rounded, as XLA takes 1/√ for √ below a line.
        ratio = jnp.pad(1 + (magnitude_O - norm_O) / norm_O, (0, affine.beyond))
        straight = affine.product(x)
        # As in both of the method's own implementations: what is scaled beyond its own length is what A sees.
        y = straight + (ratio - 1) * affine.product(seen) + ratio * delta if drops else ratio * (straight + delta)
        y = y.astype(x.dtype)
        return y if affine.bias_O is None else y + affine.widened(affine.bias_O)

    def look_up(self, place: Place, ids_BT: jax.Array, x_BTD: jax.Array, vocabulary: int) -> jax.Array:
        """x + (α/r)·A[id] B, where targets name the token table."""
        if not names(self.targets, TABLE):
            return x_BTD
        rank, scale = self._rank_and_scale(TABLE)
        rows = number_at(TABLE, self.rank_pattern, self.room or self.rank)
        a_VR = place.param("a", nn.initializers.zeros, (vocabulary, rows), jnp.float32)
        b_RD = place.param("b", nn.initializers.normal(1.0), (rows, x_BTD.shape[-1]), jnp.float32)
        if self.room is not None:
            b_RD = jnp.where(jnp.arange(rows)[:, None] < rank, b_RD, 0)
        return x_BTD + project(lookup(a_VR, ids_BT) * scale, b_RD)

    def begin(self, params: Mapping[str, jax.Array], codec: Codec | None, key: jax.Array) -> Mapping[str, jax.Array]:
        """Lengths of the columns that the weights have."""
        end = "/adapter/magnitude"
        starts = [path.removesuffix(end) for path in params if path.endswith(end)]
        return {start + end: column_norms(params[f"{start}/weight"]) for start in starts}

    def merged(self, at: str, params: Mapping[str, np.ndarray], back: bool = False) -> Mapping[str, np.ndarray]:
        """W + (α/r)·A B, with `dora` at its own lengths; the way back needs `length`, those that the sum has."""
        if at == "embed":
            return self._merged_table(params, back)
        own, weight, bias = f"{at}/adapter", params[f"{at}/weight"], params.get(f"{at}/bias")
        owner = self._owner(at)
        rank, scale = self._rank_and_scale(owner)
        low = params[f"{owner}/adapter/a"][..., :rank] @ params[f"{own}/b"][..., :rank, :] * scale
        shift = scale * params[f"{own}/bias"] if self.bias else None
        if shift is not None and bias is None:
            raise ConfigError(f"{own}/bias: {at} has no bias that it could be merged into")
        if back:
            ratio = params[f"{own}/magnitude"] / params[f"{own}/length"] if self.dora else np.ones(weight.shape[-1])
            changed = {f"{at}/weight": weight / ratio[..., None, :] - low}
        else:
            length = np.linalg.norm(weight + low, axis=-2)
            ratio = params[f"{own}/magnitude"] / length if self.dora else np.ones(weight.shape[-1])
            changed = {f"{at}/weight": (weight + low) * ratio[..., None, :]}
            changed |= {f"{own}/length": length} if self.dora else {}
        if shift is not None and bias is not None:
            changed[f"{at}/bias"] = bias - ratio * shift if back else bias + ratio * shift
        return changed

    def problems(self, shapes: Mapping[str, Any]) -> list[str]:
        """Rules that name nothing, a part of what shares an A, and places where nothing would be dropped."""
        paths = [TABLE if path == "embed" else path for path in adapted(shapes)]
        owners = {self._owner(path) for path in paths}
        found = unmet("targets", self.targets, [*projections(shapes), TABLE], "projection")
        for field, table in (("rank_pattern", self.rank_pattern), ("alpha_pattern", self.alpha_pattern)):
            found += unmet(field, rules(table), owners, "adapted projection" + self.fused_qkv * " that has an A")
        parts = {f"{owner.removesuffix('/q')}/{name}" for owner in owners if owner.endswith("/q") for name in QKV}
        if self.fused_qkv and (missing := sorted(parts - {*paths})):
            found.append(
                f"fused_qkv: targets leave out {', '.join(missing)}, which shares an A with others; name it too"
            )
        undropped = [path for path in paths if "/experts/" in path or not path.startswith(DROPPED)]
        if enabled(self.dropout) and undropped:
            found.append(
                f"dropout: nothing is dropped in front of {undropped[0]}; set it to 0, or leave that out of targets"
            )
        if TABLE in paths and (self.dora or self.bias):
            found.append(f"{'dora' if self.dora else 'bias'}: is for projections; leave {TABLE} out of targets")
        return found

    def _merged_table(self, params: Mapping[str, np.ndarray], back: bool) -> Mapping[str, np.ndarray]:
        if "lm_head/weight" not in params:
            raise ConfigError(
                f"model.adapter: {TABLE} may score tokens too, so what is added on the way in stays apart"
            )
        rank, scale = self._rank_and_scale(TABLE)
        rows = params["embed/adapter/a"][..., :rank] @ params["embed/adapter/b"][:rank] * scale
        return {TABLE: params[TABLE] - rows if back else params[TABLE] + rows}

    def _factors(self, place: Place, affine: Affine) -> tuple[jax.Array, jax.Array, Any]:
        """A (I, R), B (R, O) and what their product is scaled by."""
        owner = self._owner(place.at)
        rank, scale = self._rank_and_scale(owner)
        rows = number_at(owner, self.rank_pattern, self.room or self.rank)
        if owner == place.at:
            a_IR = place.param("a", uniform_of_inputs, (affine.shape[0], rows), jnp.float32)
        else:
            a_IR = place.beside("q")["a"]
        b_RO = place.param("b", nn.initializers.zeros, (rows, affine.shape[1]), jnp.float32)
        if self.room is not None:
            b_RO = jnp.where(jnp.arange(rows)[:, None] < rank, b_RO, 0)
        return a_IR, b_RO, scale

    def _rank_and_scale(self, path: str) -> tuple[Any, Any]:
        """The rank there, and what A B is scaled by; either may be a program's input."""
        rank = number_at(path, self.rank_pattern, self.rank)
        return rank, number_at(path, self.alpha_pattern, self.alpha) / (rank**0.5 if self.rslora else rank)

    def _owner(self, path: str) -> str:
        """The path of the projection whose A serves this one."""
        parent, _, name = path.rpartition("/")
        return f"{parent}/q" if self.fused_qkv and name in QKV else path


def uniform_of_inputs(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Uniform within ±1/√I for a shape (I, R): the start of torch's linear layers, and of A in microsoft/LoRA."""
    bound = shape[0] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)
