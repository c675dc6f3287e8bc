"""What a sweep found: read from the runs' files, nothing computed twice, every figure next to its run's id."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxgpt.lab.question.tune import Tuned
from jaxgpt.lab.run_files import damage, is_figure, read_metrics, read_result
from jaxgpt.lab.statistics.contrast import combine
from jaxgpt.lab.statistics.multiplicity import benjamini_hochberg, holm
from jaxgpt.lab.statistics.paired import CLAIM, Paired, Summary, compare, summarise
from jaxgpt.lab.sweep.folder import Sweep
from jaxgpt.lab.sweep.plan import Cell, Plan
from jaxgpt.lab.workers import failure
from jaxgpt.lab.workers.troubles import troubles
from jaxgpt.lab.workers.work import check_metric


@dataclass(frozen=True)
class Outcome:
    """How one run of the plan ended, with its value of the metric and its curve."""

    cell: Cell
    status: str
    """`finished`, `diverged`, `failed`, `damaged` or `missing`."""
    value: float
    """The metric; NaN unless finished."""
    result: dict[str, Any]
    error: str
    curve: tuple[tuple[float, float], ...]
    """(tokens seen, metric) at each evaluation, also of a run that diverged."""

    @property
    def mode(self) -> str:
        """`solo` or `fused`: how the run was computed. Only runs of one mode are paired."""
        return self.result.get("mode", "solo")


@dataclass(frozen=True)
class Arm:
    """One arm's runs in the order of seeds."""

    name: str
    outcomes: tuple[Outcome, ...]
    summary: Summary
    """Over the finished runs."""

    @cached_property
    def finished(self) -> list[Outcome]:
        """The runs that the summary is made of."""
        return [outcome for outcome in self.outcomes if outcome.status == "finished"]

    def band(self) -> tuple[list[float], list[Summary]]:
        """Mean and interval over the finished seeds, at each number of tokens that all of them reached."""
        curves = [dict(outcome.curve) for outcome in self.finished if outcome.curve]
        if not curves:
            return [], []
        tokens = sorted(set.intersection(*(set(curve) for curve in curves)))
        return tokens, [summarise([curve[at] for curve in curves]) for at in tokens]


@dataclass(frozen=True)
class Contrast:
    """Arms against arms: mostly one against the baseline, else weights of several."""

    name: str
    """The arm that is compared with the baseline, or what the experiment calls the contrast."""
    weights: Mapping[str, float]
    """Of the arms; they sum to 0."""
    seeds: tuple[int, ...]
    """The seeds that finished, in one mode, in every weighted arm."""
    differences: tuple[float, ...]
    """The weighted sum, seed by seed."""
    paired: Paired
    planned: bool
    """Asked before the data were seen. What was not is exploration."""
    adjusted: float
    """p after Holm over the planned contrasts, or Benjamini and Hochberg's q over the explored ones."""

    @property
    def arm(self) -> str | None:
        """The arm that stands against one other; None for weights of several."""
        plus = [arm for arm, weight in self.weights.items() if weight > 0]
        return plus[0] if len(plus) == 1 and len(self.weights) == 2 else None

    @property
    def claimable(self) -> bool:
        """Whether there are pairs enough for more than a description."""
        return self.paired.difference.n >= CLAIM


@dataclass(frozen=True)
class Findings:
    """Everything the reports show, under one budget."""

    plan: Plan
    folder: Path
    budget: str
    """The budget that arms had equal amounts of, or that they ran as configured."""
    arms: tuple[Arm, ...]
    contrasts: tuple[Contrast, ...]
    tuned: Mapping[str, Tuned]
    """By arm; empty where nothing was tuned."""
    troubles: tuple[str, ...] = ()
    """A line for each file of a run that cannot be read, or is not what it was when the run ended."""
    others: tuple["Findings", ...] = ()
    """The same under the other budgets."""

    @property
    def planned(self) -> list[Contrast]:
        """The contrasts that the verdict speaks of."""
        return [contrast for contrast in self.contrasts if contrast.planned]

    @property
    def differences(self) -> list[Summary]:
        """The estimated difference of each contrast."""
        return [contrast.paired.difference for contrast in self.contrasts]

    @property
    def outcomes(self) -> list[Outcome]:
        """Every run of the plan under this budget."""
        return [outcome for arm in self.arms for outcome in arm.outcomes]

    @property
    def all_outcomes(self) -> list[Outcome]:
        """Every run of the plan under any budget, once, in the plan's order of arms."""
        by_path: dict[Path, Outcome] = {}
        for under in (self, *self.others):
            by_path |= {o.cell.path: o for o in under.outcomes if o.cell.path not in by_path}
        return list(by_path.values())

    @property
    def excluded(self) -> list[Outcome]:
        """The runs that no mean contains."""
        return [outcome for outcome in self.outcomes if outcome.status != "finished"]


def analyse(plan: Plan, folder: Path, tuned: Mapping[str, Tuned] | None = None) -> Findings:
    """Reads the runs of `plan` in `folder` and makes its comparisons, under the first budget and all others."""
    first, *others = (_analyse(plan, folder, budget, tuned or {}) for budget in plan.budgets)
    lines = tuple(line for cell in plan.cells for line in troubles(folder / cell.path))
    return replace(first, others=tuple(others), troubles=lines)


def analyse_sweep(sweep: Sweep) -> Findings:
    """What a sweep has found so far."""
    return analyse(sweep.plan(), sweep.folder, sweep.tuned() or {})


def _analyse(plan: Plan, folder: Path, budget: str, tuned: Mapping[str, Tuned]) -> Findings:
    experiment, arms = plan.experiment, []
    for name in experiment.arms:
        outcomes = tuple(_read(cell, folder, experiment.metric) for cell in plan.of(name, budget))
        arms.append(Arm(name, outcomes, summarise([o.value for o in outcomes if o.status == "finished"])))
    against = {arm: {arm: 1.0, experiment.baseline: -1.0} for arm in experiment.arms if arm != experiment.baseline}
    asked = experiment.contrasts
    groups = [(asked or against, True, holm), (against if asked else {}, False, benjamini_hochberg)]
    contrasts: list[Contrast] = []
    for named, planned, adjust in groups:
        compared = [_contrast(name, weights, arms, planned) for name, weights in named.items()]
        adjusted = adjust([contrast.paired.p for contrast in compared])
        contrasts += [replace(contrast, adjusted=p) for contrast, p in zip(compared, adjusted, strict=True)]
    return Findings(plan, folder, budget, tuple(arms), tuple(contrasts), tuned)


def _contrast(name: str, weights: Mapping[str, float], arms: list[Arm], planned: bool) -> Contrast:
    """Over the seeds that finished in all its arms, computed the same way in each."""
    by_arm = {arm.name: {o.cell.run.seed: o for o in arm.finished} for arm in arms if weights.get(arm.name)}
    modes = {seed: {by[seed].mode for by in by_arm.values() if seed in by} for by in by_arm.values() for seed in by}
    values = {arm: {seed: o.value for seed, o in by.items() if len(modes[seed]) == 1} for arm, by in by_arm.items()}
    seeds, plus, minus = combine(values, {arm: weights[arm] for arm in by_arm})
    differences = tuple(a - b for a, b in zip(plus, minus, strict=True))
    return Contrast(name, dict(weights), seeds, differences, compare(plus, minus), planned, math.nan)


def _read(cell: Cell, folder: Path, metric: str) -> Outcome:
    where = folder / cell.path
    result, failed, changed = read_result(where) or {}, failure.read(where), damage(where)
    status, error = result.get("status", "missing"), ""
    if changed is not None:
        status, error = "damaged", changed
    elif not result and failed is not None:
        status, error = "failed", failed.error
    elif status == "finished":
        check_metric(metric, result, where)
        if not is_figure(result[metric]):
            status, error = "failed", f"{metric} is not a finite number"
    value = float(result[metric]) if status == "finished" else math.nan
    key = metric.removeprefix("best_")
    points = [(row.get("tokens", row["step"]), row.get(key)) for row in read_metrics(where) if changed is None]
    curve = tuple((float(at), float(figure)) for at, figure in points if is_figure(at) and is_figure(figure))
    return Outcome(cell, status, value, result, error, curve)
