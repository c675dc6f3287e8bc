"""Several arms weighed into one contrast: a factor's main effect, an interaction."""

from collections.abc import Mapping

from jaxgpt.spec import JaxgptError


def combine(
    values: Mapping[str, Mapping[int, float]], weights: Mapping[str, float]
) -> tuple[tuple[int, ...], list[float], list[float]]:
    """A contrast of several arms, as the two sides that `compare` takes.

    `values` holds each arm's metric by seed; `weights` sum to 0, and the effect keeps the metric's unit where the
    positive ones sum to 1. Returns the seeds that finished in every weighted arm and, seed by seed, the weighted sums
    of the positive arms and of the negative ones, so that their difference is the contrast. Raises JaxgptError for an
    unknown arm and for weights that do not cancel.
    """
    for arm in weights:
        if arm not in values:
            raise JaxgptError(f"weights: no arm {arm!r}; expected some of {', '.join(values)}")
    if abs(sum(weights.values())) > 1e-9 or not any(weights.values()):
        raise JaxgptError(f"weights: {dict(weights)}; expected both signs and a sum of 0, as 0.5, 0.5, -0.5, -0.5")
    weighted = {arm: weight for arm, weight in weights.items() if weight}
    seeds = tuple(sorted(set.intersection(*(set(values[arm]) for arm in weighted))))
    plus, minus = (
        [sum(sign * w * values[arm][seed] for arm, w in weighted.items() if sign * w > 0) for seed in seeds]
        for sign in (1, -1)
    )
    return seeds, plus, minus
