"""What runs really spent: tokens, FLOPs, seconds and steps, from their own results."""

import math
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxgpt.lab.analysis.findings import Findings, Outcome
from jaxgpt.spec import ConfigError, diff, load_yaml

if TYPE_CHECKING:
    from jaxgpt.runs.run import Cost

BY_DATA = frozenset({"model.vocab_size", "objective.class_weights"})
"""Fields that the data may decide though they are given: a vocabulary grows by marks, `balanced` becomes numbers."""


class Spent(NamedTuple):
    """What one run took, as the mean of an arm's, or many, as their sum. NaN where no run has ended."""

    steps: float
    tokens: float
    flops: float
    """Forward and backward, counting the keys that attention really visits. NaN while the vocabulary is unknown."""
    seconds: float
    """Of computing; a lane of a fused run has its share."""


def per_run(findings: Findings, arm: str) -> Spent:
    """The mean of an arm's finished runs."""
    finished = [o for o in findings.outcomes if o.cell.arm == arm and o.status == "finished"]
    spent = total(findings, finished)
    return Spent(*(amount / len(finished) if finished else math.nan for amount in spent))


def total(findings: Findings, outcomes: Iterable[Outcome]) -> Spent:
    """The sum over runs; one that diverged has spent too."""
    ended = [o for o in outcomes if o.result]
    steps, tokens, seconds = (sum(o.result.get(key, 0) for o in ended) for key in ("step", "tokens", "seconds"))
    by_arm: dict[str, float] = {}
    for outcome in ended:
        by_arm[outcome.cell.arm] = by_arm.get(outcome.cell.arm, 0) + outcome.result.get("tokens", 0)
    flops = sum(count * flops_per_token(findings, arm) for arm, count in by_arm.items())
    return Spent(steps, tokens, flops, seconds)


def flops_per_token(findings: Findings, arm: str) -> float:
    """FLOPs that an arm's runs take for a token in training. NaN where `step_cost` is None."""
    cost = step_cost(findings, arm)
    return math.nan if cost is None else cost.flops / cost.tokens


def step_cost(findings: Findings, arm: str) -> "Cost | None":
    """What a step of an arm's runs takes. None while the vocabulary is unknown: until a run of the arm has begun."""
    cells = findings.plan.of(arm, findings.budget)
    run = cells[0].run
    if not run.complete:  # as a run of the arm completed itself: no corpus is needed to report
        begun = (_as_begun(cell.run, findings.folder / cell.path / "config.yaml") for cell in cells)
        run = next((run for run in begun if run is not None), None)
    return None if run is None else _cost(run)


@lru_cache(1024)
def _cost(run: Any) -> "Cost":
    return run.cost()


def _as_begun(run: Any, config: Path) -> Any:
    """The run that `config` names; None where there is none yet, or it is another one."""
    if not os.path.lexists(config):
        return None
    try:
        begun = load_yaml(type(run), config)
    except ConfigError:
        return None
    differs = diff(run.settings(), begun.settings())
    decided = (open is None or name in BY_DATA for name, (open, _) in differs.items())
    return begun if begun.complete and all(decided) else None
