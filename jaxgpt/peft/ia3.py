"""Inhibiting and amplifying activations by learned scales. I inputs and O outputs of a projection."""

from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from pydantic import Field

from jaxgpt.nn.adapter import Adapter, Place
from jaxgpt.nn.affine import Affine
from jaxgpt.peft.targets import adapted, projections, unmet
from jaxgpt.spec import ConfigError
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

    def merged(self, at: str, params: Mapping[str, np.ndarray], back: bool = False) -> Mapping[str, np.ndarray]:
        """Scaled rows, or scaled columns and bias. Raises ConfigError where a scale of 0 is to be undone."""
        scale = params[f"{at}/adapter/scale"]
        if back and not scale.all():
            raise ConfigError(f"{at}/adapter/scale: is 0 somewhere, which nothing undoes; load the base again")
        scale = 1 / scale if back else scale
        weight, bias = params[f"{at}/weight"], params.get(f"{at}/bias")
        if names(self.feed_forward, at):
            return {f"{at}/weight": weight * scale[..., :, None]}
        changed = {f"{at}/weight": weight * scale[..., None, :]}
        return changed if bias is None else changed | {f"{at}/bias": bias * scale}

    def problems(self, shapes: Mapping[str, Any]) -> list[str]:
        """Rules that name nothing."""
        problems = unmet("targets", self.targets, projections(shapes), "projection")
        return problems + unmet("feed_forward", self.feed_forward, adapted(shapes), "target")
