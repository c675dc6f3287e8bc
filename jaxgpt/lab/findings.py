"""What a sweep found: read from the runs' files, nothing computed twice, every figure next to its run's id."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxgpt.lab.adjust import holm
from jaxgpt.lab.execute import check_metric
from jaxgpt.lab.plan import Cell, Plan
from jaxgpt.lab.record import read_json, read_metrics, read_result
from jaxgpt.lab.stats import CLAIM, Paired, Summary, compare, summarise


@dataclass(frozen=True)
class Outcome:
    """One run's end."""

    cell: Cell
    status: str
    """`finished`, `diverged`, `failed` or `missing`."""
    value: float
    """The metric; NaN unless finished."""
    result: dict[str, Any]
    error: str
    curve: tuple[tuple[float, float], ...]
    """(tokens seen, metric) at each evaluation, also of a run that diverged."""


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
    """An arm against the baseline."""

    arm: str
    seeds: tuple[int, ...]
    """The seeds that finished in both."""
    differences: tuple[float, ...]
    """Arm minus baseline, seed by seed."""
    paired: Paired
    p_holm: float
    """Adjusted over all contrasts of the experiment."""

    @property
    def claimable(self) -> bool:
        """Whether there are pairs enough for more than a description."""
        return self.paired.difference.n >= CLAIM


@dataclass(frozen=True)
class Findings:
    """Everything the reports show."""

    plan: Plan
    folder: Path
    arms: tuple[Arm, ...]
    contrasts: tuple[Contrast, ...]

    @property
    def differences(self) -> list[Summary]:
        """Of each contrast, arm minus baseline."""
        return [contrast.paired.difference for contrast in self.contrasts]

    @property
    def outcomes(self) -> list[Outcome]:
        """Every run of the plan."""
        return [outcome for arm in self.arms for outcome in arm.outcomes]

    @property
    def excluded(self) -> list[Outcome]:
        """The runs that no mean contains."""
        return [outcome for outcome in self.outcomes if outcome.status != "finished"]


def analyse(plan: Plan, out: Path) -> Findings:
    """Reads the runs of `plan` under `out` and compares every arm with the baseline."""
    folder, experiment = plan.folder(out), plan.experiment
    arms = []
    for name in experiment.arms:
        outcomes = tuple(_read(cell, folder, experiment.metric) for cell in plan.of(name))
        arms.append(Arm(name, outcomes, summarise([o.value for o in outcomes if o.status == "finished"])))
    values = {arm.name: {outcome.cell.run.seed: outcome.value for outcome in arm.finished} for arm in arms}
    base = values.pop(experiment.baseline)
    seeds = {name: sorted(held.keys() & base.keys()) for name, held in values.items()}
    pairs = {name: compare([values[name][s] for s in at], [base[s] for s in at]) for name, at in seeds.items()}
    adjusted = holm([paired.p for paired in pairs.values()])
    contrasts = [
        Contrast(name, tuple(seeds[name]), tuple(values[name][s] - base[s] for s in seeds[name]), paired, p)
        for (name, paired), p in zip(pairs.items(), adjusted, strict=True)
    ]
    return Findings(plan, folder, tuple(arms), tuple(contrasts))


def _read(cell: Cell, folder: Path, metric: str) -> Outcome:
    where = folder / cell.path
    result = read_result(where) or {}
    error = read_json(where / "failure.json").get("error", "")
    status = result.get("status") or ("failed" if error else "missing")
    if status == "finished":
        check_metric(metric, result, where)
    value = float(result[metric]) if status == "finished" else math.nan
    key = metric.removeprefix("best_")
    points = ((row.get("tokens", row["step"]), row[key]) for row in read_metrics(where) if row.get(key) is not None)
    return Outcome(cell, status, value, result, error, tuple((float(at), float(held)) for at, held in points))
