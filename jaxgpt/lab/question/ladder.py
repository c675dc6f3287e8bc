"""Scaling ladders: the same thing at growing sizes, and the law that its loss follows."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from jaxgpt.spec import Spec
from jaxgpt.spec.errors import quote

Axis = Literal["parameters", "flops", "tokens"]


class Ladder(Spec):
    """Which arms are the rungs, and what the loss is a law of."""

    rungs: dict[str, tuple[str, ...]] = Field(min_length=1)
    """A series' name to its arms, 2 or more, in any order: one law for each series."""
    axis: Axis = "parameters"
    """`parameters` without embeddings (Kaplan et al. 2020, section 2.1), `flops` of the whole run, or `tokens`."""
    irreducible: bool = False
    """Whether the law has a loss that no size gets below (Hoffmann et al. 2022, section 3.3); needs 4 rungs."""

    def __hash__(self) -> int:
        return hash((tuple(self.rungs.items()), self.axis, self.irreducible))

    @model_validator(mode="after")
    def _several(self) -> "Ladder":
        fewest, law = (4, "law with an irreducible loss") if self.irreducible else (2, "law")
        for name, arms in self.rungs.items():
            count = len(set(arms))
            if count < fewest:
                raise ValueError(
                    f"series {quote(name)} has {count} rung{'s'[: count != 1]}; a {law} needs {fewest} or more"
                )
        return self


def ladder_arms(
    sizes: Mapping[str, Mapping[str, Any]], variants: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[str, ...]]]:
    """`(arms, rungs)` of every variant at every size; an arm is named `variant-size`."""
    arms = {f"{v}-{s}": {**size, **change} for v, change in variants.items() for s, size in sizes.items()}
    return arms, {v: tuple(f"{v}-{s}" for s in sizes) for v in variants}
