"""What runs really spent: tokens, FLOPs, seconds and steps, from their own results."""

import math
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from jaxgpt.lab.analysis.findings import Findings, Outcome
from jaxgpt.lab.run_files import is_count
from jaxgpt.lab.sweep.budget import cost
from jaxgpt.spec import ConfigError
from jaxgpt.spec.yamlio import read_yaml


class Spent(NamedTuple):
    """Of one run as the mean of an arm's, or of many as their sum. NaN where no run has ended."""

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
    return Spent(*(held / len(finished) if finished else math.nan for held in spent))


def total(findings: Findings, outcomes: Iterable[Outcome]) -> Spent:
    """The sum over runs; one that diverged has spent too."""
    ended = [o for o in outcomes if o.result]
    steps, tokens, seconds = (sum(o.result.get(key, 0) for o in ended) for key in ("step", "tokens", "seconds"))
    by_arm: dict[str, float] = {}
    for outcome in ended:
        by_arm[outcome.cell.arm] = by_arm.get(outcome.cell.arm, 0) + outcome.result.get("tokens", 0)
    flops = sum(held * flops_per_token(findings, arm) for arm, held in by_arm.items())
    return Spent(steps, tokens, flops, seconds)


def flops_per_token(findings: Findings, arm: str) -> float:
    """Of an arm's runs, in training. NaN while the vocabulary is unknown: until a run of the arm has begun."""
    cells = findings.plan.of(arm, findings.axis)
    run = cells[0].run
    if run.model.vocab_size is None:  # as a run itself settled it: no corpus is needed to report
        sizes = (_vocabulary(findings.folder / cell.path / "config.yaml") for cell in cells)
        size = next((size for size in sizes if size), None)
        if size is None:
            return math.nan
        run = run.with_vocabulary(size)
    return _flops_per_token(run)


@lru_cache(1024)
def _flops_per_token(run: Any) -> float:
    step = cost(run)
    return step.flops / step.tokens


def _vocabulary(config: Path) -> int | None:
    """None where there is no config yet, or it is not that of a run."""
    if not os.path.lexists(config):
        return None
    try:
        model = read_yaml(config).get("model")
    except ConfigError:
        return None
    size = model.get("vocab_size") if isinstance(model, dict) else None
    return size if is_count(size) and 0 < size < 1 << 31 else None
