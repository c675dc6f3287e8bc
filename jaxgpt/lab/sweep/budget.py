"""Arms that spend the same: tokens, FLOPs or seconds become a number of steps, and the schedule ends with them.

Reading a longer run off in the middle would not do: its learning rate is still high there, and ranks change as it falls
(Hoffmann et al. 2022, section 3.1). So every budget has runs of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxgpt.spec import ConfigError

AS_CONFIGURED = "configured"
"""The budget of an experiment that names none."""

Pacer = Callable[[Mapping[str, Any]], Mapping[str, float]]
"""Seconds a step of each arm's run. Measuring takes long: it is asked for last, when nothing else is wrong."""


class Cost(NamedTuple):
    """What a step of a run takes."""

    tokens: float
    flops: float
    """Forward and backward, counting the keys that attention really visits."""


def cost(run: Any) -> Cost:
    """Of one step; the vocabulary must be settled."""
    tokens = run.batch_size * run.row_tokens
    return Cost(tokens, tokens * run.flops_per_token(dense=False))


def settled(run: Any) -> Any:
    """The run with its vocabulary; tokenises the corpus when no earlier run did."""
    if run.model.vocab_size is not None:
        return run
    from jaxgpt.text import prepare

    return run.settled(prepare(run.data, run.tokenizer, run.model.context, quiet=True).codec)


def steps(runs: Mapping[str, Any], baseline: str, axis: str, pacer: Pacer | None) -> dict[str, int]:
    """Each arm's number of steps: those in which it spends what the baseline spends in its own.

    `pacer` is needed for the axis `seconds`. Raises ConfigError for a batch that grows, whose steps do not cost the
    same, and for an arm that the budget leaves without a step.
    """
    ramped = [arm for arm, run in runs.items() if run.batch_ramp is not None]
    if ramped:
        raise ConfigError(
            f"budget: {axis} cannot be equal with batch_ramp, which arm {ramped[0]!r} sets; leave one out"
        )
    if axis == "seconds":
        if pacer is None:
            raise ConfigError("budget: seconds a step have not been measured; run `jaxgpt lab plan EXPERIMENT.py`")
        each = dict(pacer(runs))
    else:
        each = {arm: getattr(cost(settled(run)), axis) for arm, run in runs.items()}
    total = runs[baseline].steps * each[baseline]
    counts = {arm: round(total / one) for arm, one in each.items()}
    for arm, count in counts.items():
        if count < 1:
            raise ConfigError(
                f"budget: arm {arm!r} gets no step for the {axis} of the baseline; lengthen the base's steps"
            )
    return counts
