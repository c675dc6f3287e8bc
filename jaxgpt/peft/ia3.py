"""Inhibiting and amplifying activations by learned scales. I inputs and O outputs of a projection."""

from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import Field

from jaxgpt.nn.adapter import Adapter, Place
from jaxgpt.nn.affine import Affine
from jaxgpt.peft.targets import adapted, projections, unmet
from jaxgpt.spec.rules import Rule, names

ENDS = "feed_forward/.*down$"


class IA3(Adapter, kind="ia3"):
    """Scales what projections give, bias and all, or in the feed-forward layer what the last one gets: parameters
    `scale`, (O,) or (I,), that start at 1."""

    citation = "Liu et al. 2022 (T-Few), section 3.3; huggingface/peft"
    targets: Annotated[tuple[Rule, ...], Field(min_length=1)] = ("attention/[kv]$", ENDS)
    """Regular expressions over paths of projections (`blocks/layers/attention/k`): those in whose path one is found."""
    feed_forward: tuple[Rule, ...] = (ENDS,)
    """Of those, the ones whose input is scaled, in place of their output."""

    def project(self, place: Place, x: jax.Array, affine: Affine) -> jax.Array:
        """(x W + b)·scale, or (x·scale) W + b, where targets name the projection."""
        if not names(self.targets, place.at):
            return affine(x)
        of_input = names(self.feed_forward, place.at)
        size = affine.shape[0 if of_input else 1]
        scale = place.param("scale", nn.initializers.ones, (size,), jnp.float32)
        return affine(x * scale.astype(x.dtype)) if of_input else affine(x) * affine.widened(scale)

    def problems(self, shapes: Mapping[str, Any]) -> list[str]:
        """Rules that name nothing."""
        problems = unmet("targets", self.targets, projections(shapes), "projection")
        return problems + unmet("feed_forward", self.feed_forward, adapted(shapes), "target")
