"""Arms x seeds -> cells. Every spec is resolved and checked here, before anything runs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxgpt import shipped
from jaxgpt.disk import resolve as resolve_path
from jaxgpt.lab.question.code import own_code
from jaxgpt.lab.question.experiment import MOST_SEEDS, Experiment
from jaxgpt.lab.question.tune import FIRST_SEED
from jaxgpt.lab.sweep.budget import AS_CONFIGURED, Pacer, steps
from jaxgpt.spec import ConfigError, apply_overrides, canonical, digest, parse
from jaxgpt.spec.errors import did_you_mean, quote
from jaxgpt.spec.yamlio import read_yaml


@dataclass(frozen=True)
class Cell:
    """One run of a plan: an arm's spec with one seed, and where its files lie."""

    arm: str
    run: Any
    """A `jaxgpt.runs.Run`, resolved: importing its class loads jax."""
    id: str
    """Digest of the run's identity, and of the experiment file's own code where the run uses it."""
    folder: str
    """Where the arm's runs lie, relative to the sweep's folder."""
    budgets: tuple[str, ...] = (AS_CONFIGURED,)
    """The budgets that it serves; arms that cost the same share runs between budgets."""

    @property
    def path(self) -> Path:
        """Readable first, exact second: `rotary/s03-1f0c9a2b4d`, relative to the sweep's folder."""
        return Path(self.folder) / f"s{self.run.seed:02d}-{self.id}"


@dataclass(frozen=True)
class Plan:
    """An experiment with every run resolved. Cells go seed by seed, so part of a sweep is a smaller sweep."""

    name: str
    experiment: Experiment
    cells: tuple[Cell, ...]
    command: str
    """What to type to continue or repeat it."""
    stage: str = "report"
    """`report`, or `tune` for the runs that only choose learning rates."""

    @property
    def budgets(self) -> tuple[str, ...]:
        """The budgets under which arms are compared, in order."""
        return self.experiment.budget or (AS_CONFIGURED,)

    def of(self, arm: str, budget: str | None = None) -> list[Cell]:
        """One arm's cells under a budget (the first unless named), in the order of seeds."""
        budget = budget or self.budgets[0]
        return [cell for cell in self.cells if cell.arm == arm and budget in cell.budgets]


Sizer = Callable[[str, Any], Any]
"""An arm's run -> the run with its number of steps."""


def sized(arm: str, run: Any) -> Any:
    """The run with its number of steps, for which its data are read where it is given in epochs."""
    return run.sized()


def plan(
    experiment: Experiment,
    name: str,
    near: Path | None = None,
    seeds: int | None = None,
    command: str = "",
    spec: type[Any] | None = None,
    rates: Mapping[str, float] | None = None,
    pacer: Pacer | None = None,
    sizer: Sizer = sized,
) -> Plan:
    """Resolves every run that is to be reported.

    `near` is the folder where the base is looked up first; `seeds` replaces the experiment's; `spec` is the run's Spec
    class, `jaxgpt.runs.Run` by default; `rates` are tuned learning rates by arm, `pacer` measures for a budget of
    seconds, and `sizer` turns epochs into steps. Raises ConfigError with the problems of all arms at once, each with
    its arm's name in front.
    """
    count = _count(experiment, seeds)
    runs = {arm: sizer(arm, run) for arm, run in resolve(experiment, near, spec).items()}
    if rates:
        runs = {arm: run.evolve(optim=run.optim.evolve(lr=rates[arm])) for arm, run in runs.items()}
    counts = {budget: steps(runs, experiment.baseline, budget, pacer) for budget in experiment.budget}
    cells: dict[Path, Cell] = {}
    for i in range(count):
        for budget in experiment.budget or (AS_CONFIGURED,):
            for arm, run in runs.items():
                changes = {"steps": counts[budget][arm]} if budget in counts else {}
                seeded = run.evolve(seed=run.seed + i, **changes)
                cell = Cell(arm, seeded, _id(seeded), arm, (budget,))
                planned = cells.get(cell.path)
                cells[cell.path] = cell if planned is None else replace(planned, budgets=(*planned.budgets, budget))
    return Plan(name, experiment, tuple(cells.values()), command)


def tuning_plan(
    experiment: Experiment,
    name: str,
    command: str = "",
    spec: type[Any] | None = None,
    sizer: Sizer = sized,
) -> Plan:
    """Resolves the runs that choose each arm's learning rate; none where the experiment tunes nothing."""
    if experiment.tune is None:
        return Plan(name, experiment, (), command, "tune")
    cells = []
    runs = {arm: sizer(arm, run) for arm, run in resolve(experiment, None, spec).items()}
    for i in range(experiment.tune.seeds):
        for lr in experiment.tune.lr:
            for arm, run in runs.items():
                seeded = run.evolve(seed=FIRST_SEED + run.seed + i, optim=run.optim.evolve(lr=lr))
                cells.append(Cell(arm, seeded, _id(seeded), f"tune/{arm}-lr{lr:g}"))
    return Plan(name, experiment, tuple(cells), command, "tune")


def resolve(experiment: Experiment, near: Path | None, spec: type[Any] | None) -> dict[str, Any]:
    """Every arm's run, before seeds and budgets. Raises ConfigError with the problems of all arms at once."""
    spec = _run() if spec is None else spec
    tree = _read_base(experiment.base, near)
    parse(spec, tree)  # a fault of the base is reported once and in the base's own words
    runs: dict[str, Any] = {}
    problems: list[str] = []
    for arm, changes in experiment.arms.items():
        try:
            runs[arm] = parse(spec, apply_overrides(tree, changes, spec))
        except ConfigError as error:
            problems += [f"arms.{arm}: {problem}" for problem in error.problems]
    problems += _twins(runs)
    if problems:
        raise ConfigError(problems)
    return runs


def base_tree(experiment: Experiment, near: Path, overrides: Iterable[str]) -> dict[str, Any]:
    """The base as plain fields, overrides applied."""
    return apply_overrides(_read_base(experiment.base, near), overrides, _run())


def _run() -> type[Any]:
    from jaxgpt.runs import Run

    return Run


def _count(experiment: Experiment, seeds: int | None) -> int:
    seeds = experiment.seeds if seeds is None else seeds
    if seeds < 1:
        raise ConfigError(f"seeds: expected 1 or more, got {quote(seeds)}")
    if seeds > MOST_SEEDS:
        raise ConfigError(f"seeds: expected {MOST_SEEDS:,} or fewer, got {quote(seeds)}")
    if experiment.tune is not None and seeds > FIRST_SEED:
        raise ConfigError(f"seeds: {seeds} would reach the seeds that tuning uses, from {FIRST_SEED} on")
    return seeds


def _read_base(base: str | dict[str, Any], near: Path | None) -> dict[str, Any]:
    if not isinstance(base, str):
        return base
    folders = [Path.cwd()]
    if near is not None:
        near = near.resolve()
        folders = [near, *near.parents, *folders]
    for folder in folders:
        path = resolve_path(base if base.startswith("~") else folder / base, "base")
        if path.is_file():
            return read_yaml(path)
    if (file := shipped.by_name(base, "config")) is not None:
        return read_yaml(file)
    known = [p.name for folder in folders for p in (folder / base).parent.glob("*.yaml")]
    hint = did_you_mean(base if "/" in base else Path(base).name, [*known, *shipped.names("config")])
    raise ConfigError(f"base: no file {quote(base)} in {folders[0]} or above it{hint}")


def _id(run: Any) -> str:
    identity, code = run.identity(), own_code(run)
    return digest({"run": identity, "code": code} if code else identity)


def _twins(runs: Mapping[str, Any]) -> list[str]:
    """Arms that resolve to the same run: a comparison of a thing with itself, most likely a mistake."""
    first: dict[str, str] = {}
    firsts = {arm: first.setdefault(canonical(run), arm) for arm, run in runs.items()}
    return [f"arms.{b}: resolves to the same run as arms.{a}; change a field" for b, a in firsts.items() if a != b]
