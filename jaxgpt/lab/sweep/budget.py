"""Arms that spend the same: tokens, FLOPs or seconds become a number of steps, and the schedule ends with them.

Reading a longer run off in the middle would not do: its learning rate is still high there, and ranks change as it falls
(Hoffmann et al. 2022, section 3.1). So every budget has runs of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jaxgpt.spec import ConfigError

AS_CONFIGURED = "configured"
"""The budget of an experiment that names none."""

Pacer = Callable[[Mapping[str, Any]], Mapping[str, float]]
"""Seconds a step of each arm's run. Measuring takes long: it is asked for last, when nothing else is wrong."""


def steps(runs: Mapping[str, Any], baseline: str, budget: str, pacer: Pacer | None) -> dict[str, int]:
    """Each arm's number of steps: those in which it spends what the baseline spends in its own.

    `pacer` is needed for the budget `seconds`. Raises ConfigError for runs whose steps do not cost
    the same, and for an arm that the budget leaves without a step.
    """
    uneven = [arm for arm, run in runs.items() if not run.even]
    if uneven:
        raise ConfigError(
            f"budget: {budget} cannot be equal where steps differ in cost, as those of {uneven[0]!r} do (batch_ramp); "
            "leave one out"
        )
    if budget == "seconds":
        if pacer is None:
            raise ConfigError("budget: seconds a step have not been measured; run `jaxgpt lab plan EXPERIMENT.py`")
        each = dict(pacer(runs))
    else:
        each = {arm: getattr(run.completed().cost(), budget) for arm, run in runs.items()}
    total = runs[baseline].steps * each[baseline]
    counts = {arm: round(total / amount) for arm, amount in each.items()}
    for arm, count in counts.items():
        if count < 1:
            raise ConfigError(
                f"budget: arm {arm!r} gets no step for the {budget} of the baseline; lengthen the base's steps"
            )
    return counts
