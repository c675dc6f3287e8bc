"""A ladder's runs as series of (size, losses by seed), each with its law."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jaxgpt.lab.analysis.costs import per_run
from jaxgpt.lab.analysis.findings import Findings, Outcome
from jaxgpt.lab.statistics.multiplicity import holm
from jaxgpt.lab.statistics.paired import CLAIM, Paired, compare
from jaxgpt.lab.statistics.power_law import Law, fit
from jaxgpt.spec import JaxgptError

WORDS = {"parameters": "parameters without embeddings", "flops": "FLOPs of a run", "tokens": "tokens of a run"}
"""The axis in words."""


@dataclass(frozen=True)
class Series:
    """The sizes and losses that one power law is fitted to."""

    name: str
    arms: tuple[str, ...]
    """From the smallest size to the largest."""
    x: tuple[float, ...]
    """Parameters without embeddings, FLOPs or tokens of each arm; NaN where no run has ended to tell."""
    seeds: tuple[int, ...]
    """That finished in every rung, computed one way."""
    losses: tuple[tuple[float, ...], ...]
    """By seed, then by arm."""
    law: Law | None
    why: str = ""
    """Why there is no law."""

    @property
    def claimable(self) -> bool:
        """Whether there are seeds enough for more than a description."""
        return len(self.seeds) >= CLAIM

    @property
    def exponents(self) -> dict[int, float]:
        """b of each seed, empty without a law."""
        return {seed: b for seed, (_, _, b) in zip(self.seeds, self.law.fits, strict=True)} if self.law else {}


@dataclass(frozen=True)
class Steeper:
    """Two series' exponents, seed by seed."""

    name: str
    reference: str
    """The first series."""
    paired: Paired
    """`name` minus `reference`; above 0: the loss of `name` falls faster."""
    adjusted: float
    """p after Holm over all such comparisons."""


def series_of(findings: Findings) -> tuple[Series, ...]:
    """The series of the experiment's ladder; none where it has no ladder."""
    ladder = findings.plan.experiment.ladder
    return tuple(_series(findings, name, arms) for name, arms in ladder.rungs.items()) if ladder else ()


def steeper(series: tuple[Series, ...]) -> list[Steeper]:
    """Each further series against the first, by a paired t test over the seeds that both have."""
    known = [each for each in series if each.law]
    pairs = [Steeper(each.name, known[0].name, _compare(each, known[0]), math.nan) for each in known[1:]]
    adjusted = holm([pair.paired.p for pair in pairs])
    return [Steeper(pair.name, pair.reference, pair.paired, p) for pair, p in zip(pairs, adjusted, strict=True)]


def size(findings: Findings, arm: str) -> float:
    """Where an arm stands on the ladder's axis."""
    ladder = findings.plan.experiment.ladder
    if ladder is None or ladder.axis == "parameters":
        return parameters(findings.plan.of(arm, findings.budget)[0].run.model)
    return float(getattr(per_run(findings, arm), ladder.axis))


@lru_cache(1024)
def parameters(model: Any) -> int:
    """Without the tables of tokens and positions, nor an output table of its own (Kaplan et al. 2020, section 2.1):
    so whatever the vocabulary."""
    sized = model if model.vocab_size is not None else model.evolve(vocab_size=256)
    tree = sized.shapes()
    tables = [table for name, table in tree.get("embed", {}).items() if name in ("token", "position")]
    tables += tree.get("lm_head", {}).values()
    return sized.count() - sum(math.prod(table.shape) for table in tables)


def _series(findings: Findings, name: str, arms: tuple[str, ...]) -> Series:
    ladder = findings.plan.experiment.ladder
    arms = tuple(dict.fromkeys(arms))
    sizes = {arm: size(findings, arm) for arm in arms}
    arms = tuple(sorted(arms, key=lambda arm: (math.isnan(sizes[arm]), sizes[arm])))
    x = tuple(float(sizes[arm]) for arm in arms)
    finished = {arm.name: {o.cell.run.seed: o for o in arm.finished} for arm in findings.arms if arm.name in arms}
    shared = sorted(set.intersection(*(set(finished[arm]) for arm in arms)))
    rows: dict[int, list[Outcome]] = {seed: [finished[arm][seed] for arm in arms] for seed in shared}
    seeds = tuple(seed for seed, row in rows.items() if len({o.mode for o in row}) == 1)
    losses = tuple(tuple(o.value for o in rows[seed]) for seed in seeds)
    if not seeds:
        return Series(name, arms, x, seeds, losses, None, "no seed has finished in every rung")
    try:
        return Series(name, arms, x, seeds, losses, fit(x, losses, ladder.irreducible if ladder else False))
    except JaxgptError as error:
        return Series(name, arms, x, seeds, losses, None, str(error))


def _compare(series: Series, other: Series) -> Paired:
    a, b = series.exponents, other.exponents
    both = [seed for seed in a if seed in b]
    return compare([a[seed] for seed in both], [b[seed] for seed in both])
