"""Arms x seeds -> cells. Every spec is resolved and checked here, before anything runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxgpt.lab.experiment import Experiment
from jaxgpt.lab.source import own_code
from jaxgpt.spec import ConfigError, apply_overrides, diff, digest, parse
from jaxgpt.spec.errors import did_you_mean
from jaxgpt.spec.yamlio import read_yaml


@dataclass(frozen=True)
class Cell:
    """One run of the plan."""

    arm: str
    run: Any
    """The resolved spec: it has `steps`, `seed` and `identity()`, as `jaxgpt.train.Run` does."""
    id: str
    """Digest of the run's identity, and of the experiment file's own code where the run uses it."""

    @property
    def path(self) -> Path:
        """Readable first, exact second: `rotary/s03-1f0c9a2b4d`, relative to the experiment's folder."""
        return Path(self.arm) / f"s{self.run.seed:02d}-{self.id}"


@dataclass(frozen=True)
class Plan:
    """An experiment with every run resolved. Cells go seed by seed, so part of a sweep is a smaller sweep."""

    name: str
    experiment: Experiment
    cells: tuple[Cell, ...]
    command: str
    """What to type to continue or repeat it."""

    def folder(self, out: Path) -> Path:
        """Where this experiment's runs and its report live."""
        return out / self.name

    def of(self, arm: str) -> list[Cell]:
        """One arm's cells, in the order of seeds."""
        return [cell for cell in self.cells if cell.arm == arm]


def plan(
    experiment: Experiment,
    name: str,
    near: Path | None = None,
    overrides: Iterable[str] = (),
    seeds: int | None = None,
    command: str = "",
    spec: type[Any] | None = None,
) -> Plan:
    """Resolves every run of `experiment`.

    `near` is the folder where the base is looked up first; `overrides` edit the base; `seeds` replaces the
    experiment's; `spec` is the run's Spec class, `jaxgpt.train.Run` by default. Raises ConfigError with the problems
    of all arms at once, each with its arm's name in front.
    """
    if spec is None:
        from jaxgpt.train import Run

        spec = Run
    seeds = experiment.seeds if seeds is None else seeds
    if seeds < 1:
        raise ConfigError(f"seeds: expected 1 or more, got {seeds}")
    tree = apply_overrides(_base_tree(experiment.base, near), overrides)
    parse(spec, tree)  # a fault of the base is reported once and in the base's own words

    runs: dict[str, Any] = {}
    problems: list[str] = []
    for arm, changes in experiment.arms.items():
        try:
            runs[arm] = parse(spec, apply_overrides(tree, changes))
        except ConfigError as error:
            problems += [f"arms.{arm}: {problem}" for problem in error.problems]
    problems += _twins(runs)
    if problems:
        raise ConfigError(problems)

    cells = []
    for i in range(seeds):
        for arm, run in runs.items():
            seeded = run.evolve(seed=run.seed + i)
            cells.append(Cell(arm, seeded, _id(seeded)))
    return Plan(name, experiment, tuple(cells), command)


def _base_tree(base: str | dict[str, Any], near: Path | None) -> dict[str, Any]:
    if not isinstance(base, str):
        return base
    folders = [Path.cwd()]
    if near is not None:
        near = near.resolve()
        folders = [near, *near.parents, *folders]
    for folder in folders:
        if (folder / base).is_file():
            return read_yaml(folder / base)
    known = (p.name for folder in folders for p in (folder / base).parent.glob("*.yaml"))
    raise ConfigError(f"base: no file {base!r} in {folders[0]} or above it{did_you_mean(Path(base).name, known)}")


def _id(run: Any) -> str:
    identity, code = run.identity(), own_code(run)
    return digest({"run": identity, "code": code} if code else identity)


def _twins(runs: Mapping[str, Any]) -> list[str]:
    """Arms that resolve to the same run: a comparison of a thing with itself, most likely a mistake."""
    arms = list(runs)
    pairs = [(a, b) for i, a in enumerate(arms) for b in arms[i + 1 :]]
    return [
        f"arms.{b}: resolves to the same run as arms.{a}; change a field"
        for a, b in pairs
        if not diff(runs[a], runs[b])
    ]
