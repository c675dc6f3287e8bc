"""A sweep's folder: the plan as a file, so that any number of machines can work on it and read it.

plan.json       the question, the experiment with its base, and every run; replaced whole by each planning
experiment.py   the experiment's file, for the mechanisms that it declares
fuse.json       whether runs train as one program, once that is settled
steps.json      the steps that an arm's epochs are, once its data were read, and of which run
pace.json       measured seconds a step by arm, where a budget of seconds needs them, and of which program
claims/         who does what
ARM/sNN-ID/     the runs, and tune/ARM-lrRATE/sNN-ID/ those that choose learning rates
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxgpt.lab.commands.status_files import PLAN, read_plan
from jaxgpt.lab.question.experiment import Experiment
from jaxgpt.lab.question.file import import_file, load
from jaxgpt.lab.question.settings import Lab
from jaxgpt.lab.question.tune import Tuned, choose
from jaxgpt.lab.run_files import LARGE, is_count, is_figure, read_json, read_result, write_text
from jaxgpt.lab.sweep.plan import Cell, Plan, base_tree, plan, tuning_plan
from jaxgpt.lab.sweep.timing import program_id, solo_pace
from jaxgpt.spec import ConfigError, apply_overrides, digest, parse
from jaxgpt.spec.errors import quote
from jaxgpt.spec.small_file import read_small_bytes

SOURCE, PACE, STEPS = "experiment.py", "pace.json", "steps.json"


@dataclass(frozen=True)
class Sweep:
    """An experiment, and the folder that its runs lie in."""

    folder: Path
    experiment: Experiment
    """Its base is a mapping, with overrides applied."""
    seeds: int | None
    command: str
    spec: type[Any] | None = None
    source: Path | None = None
    """The experiment's file, to be copied into the folder."""
    origin: str | None = None
    """Where that file lay when the sweep was planned: what tells this experiment from another of the same name."""

    @property
    def name(self) -> str:
        """The experiment's: its file's, without the ending."""
        return Path(self.origin).stem if self.origin else self.folder.name

    @property
    def settings(self) -> Lab:
        """The settings of how the sweep is executed."""
        return self.experiment.lab

    @cached_property
    def tuning(self) -> Plan:
        """The runs that choose learning rates; empty where nothing is tuned."""
        with self._named():
            return tuning_plan(self.experiment, self.name, command=self.command, spec=self.spec, sizer=self._sized)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Puts the plan's file before each problem of a sweep that was read from it: nobody typed those fields."""
        try:
            yield
        except ConfigError as error:
            front = "" if self.source else f"{self.folder / PLAN}: "
            raise ConfigError([f"{front}{problem}" for problem in error.problems]) from None

    def tuned(self) -> dict[str, Tuned] | None:
        """What tuning found, by arm; None while some of its runs are missing."""
        values: dict[str, dict[float, list[float]]] = {}
        spent: dict[str, list[dict[str, Any]]] = {}
        for cell in self.tuning.cells:
            result = read_result(self.folder / cell.path)
            if result is None:
                return None
            value = result.get(self.experiment.metric) if result["status"] == "finished" else None
            figures = values.setdefault(cell.arm, {}).setdefault(cell.run.optim.lr, [])
            figures.append(float(value) if is_figure(value) else float("nan"))
            spent.setdefault(cell.arm, []).append(result)
        return {
            arm: choose(
                arm,
                by_rate,
                self.experiment.better,
                sum(result.get("tokens", 0) for result in spent[arm]),
                sum(result.get("seconds", 0.0) for result in spent[arm]),
            )
            for arm, by_rate in values.items()
        }

    def plan(self) -> Plan:
        """The runs that are reported. Before tuning has ended its learning rates stand for those to come."""
        rates = {arm: tuned.lr for arm, tuned in (self.tuned() or {}).items()}
        key = tuple(rates.items())
        if key not in self._resolved:
            with self._named():
                self._resolved[key] = plan(
                    self.experiment,
                    self.name,
                    seeds=self.seeds,
                    command=self.command,
                    spec=self.spec,
                    rates=rates or None,
                    pacer=self._seconds,
                    sizer=self._sized,
                )
        return self._resolved[key]

    @cached_property
    def _resolved(self) -> dict[tuple[tuple[str, float], ...], Plan]:
        """Plans by tuned rates: resolving every arm again each time that somebody asks took a second in large
        sweeps."""
        return {}

    def plans(self) -> list[Plan]:
        """The plans of all stages, in the order in which they run: tuning, where there is any, then the report."""
        return [self.tuning, self.plan()] if self.tuning.cells else [self.plan()]

    def write(self) -> None:
        """Writes plan.json and experiment.py: from here on any worker can join."""
        cells = [_listed(cell, stage.stage) for stage in self.plans() for cell in stage.cells]
        content = {
            "name": self.name,
            "question": self.experiment.question,
            "command": self.command,
            "claim_seconds": self.settings.claim_seconds,
            "seeds": self.seeds,
            "source": self.origin,
            "experiment": self.experiment.model_dump(mode="json"),
            "cells": cells,
        }
        if self.source is not None:
            _replace(self.folder / SOURCE, self.source.read_text(encoding="utf-8"))
        if self._paces != read_json(self.folder / PACE):
            write_text(self.folder / PACE, json.dumps(self._paces, indent=1) + "\n")
        if self._steps != read_json(self.folder / STEPS):
            write_text(self.folder / STEPS, json.dumps(self._steps, indent=1) + "\n")
        _replace(self.folder / PLAN, json.dumps(content, indent=1) + "\n")

    @cached_property
    def _paces(self) -> dict[str, dict[str, Any]]:
        stored = read_json(self.folder / PACE)
        return {arm: pace for arm, pace in stored.items() if isinstance(pace, dict) and is_figure(pace.get("seconds"))}

    @cached_property
    def _steps(self) -> dict[str, dict[str, Any]]:
        stored = read_json(self.folder / STEPS)
        return {arm: entry for arm, entry in stored.items() if isinstance(entry, dict) and is_count(entry.get("steps"))}

    def _sized(self, arm: str, run: Any) -> Any:
        """The run with its number of steps, counted once and stored by `write`: where there are results their data need
        not be, and changed data would be another plan."""
        if run.steps is not None:
            return run
        identity = digest(run.evolve(seed=0).identity())
        if self._steps.get(arm, {}).get("run") != identity:
            self._steps[arm] = {"run": identity, "steps": run.sized().steps}
        return run.evolve(steps=self._steps[arm]["steps"], epochs=None)

    def _seconds(self, runs: Mapping[str, Any]) -> dict[str, float]:
        """Seconds a step by arm, measured once and stored by `write`: another measurement would be another plan."""
        for arm, run in runs.items():
            program = program_id(run)
            if self._paces.get(arm, {}).get("program") != program:
                self._paces[arm] = {"program": program, "seconds": solo_pace(run).step}
        return {arm: self._paces[arm]["seconds"] for arm in runs}


def _replace(path: Path, text: str) -> None:
    """Writes the file unless it says just that: workers that begin at once would else all write it."""
    if not _says(path, text):
        write_text(path, text)


def _says(path: Path, text: str) -> bool:
    try:
        return read_small_bytes(path, LARGE) == text.encode()
    except ConfigError:
        return False


def _listed(cell: Cell, stage: str) -> dict[str, Any]:
    return {
        "arm": cell.arm,
        "seed": cell.run.seed,
        "id": cell.id,
        "path": cell.path.as_posix(),
        "steps": cell.run.steps,
        "stage": stage,
    }


def from_file(path: Path, overrides: Sequence[str], seeds: int | None, folder: Path, command: str) -> Sweep:
    """The sweep of an experiment file in `folder`. Overrides of `lab.` go to the experiment, the others to its base."""
    experiment = load(path)
    own = [text for text in overrides if text.startswith("lab.")]
    if own:
        experiment = parse(Experiment, apply_overrides(experiment.model_dump(mode="json"), own, Experiment))
    base = base_tree(experiment, path.parent, [text for text in overrides if not text.startswith("lab.")])
    experiment = experiment.model_copy(update={"base": base})
    return Sweep(folder, experiment, seeds, command, source=path, origin=str(path.resolve()))


def check_folder(sweep: Sweep) -> None:
    """Raises ConfigError where the folder holds anything but this experiment's sweep: nothing is planned over it.

    The experiment is the same where its file is, by place or by content, or its question: each of them may change.
    """
    folder, source = sweep.folder, sweep.source
    try:
        entries = {name for name in os.listdir(folder) if not name.startswith(".")}
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be the folder of a sweep: {error.strerror}; choose another --out"
        ) from None
    if source is None or (SOURCE in entries and _says(folder / SOURCE, source.read_text(encoding="utf-8"))):
        return
    if PLAN in entries:
        plan = read_plan(folder)
        if plan.get("source") == sweep.origin or plan["question"] == sweep.experiment.question:
            return
        other = plan.get("source") or plan["question"]
        raise ConfigError(f"{folder}: holds the sweep of another experiment, {quote(other, 200)}; choose another --out")
    if entries - {SOURCE, PACE}:
        raise ConfigError(
            f"{folder}: holds {quote(min(entries))} and no sweep; --out is the sweep's own folder: choose an empty "
            f"one, as --out {folder / sweep.name}"
        )


def from_folder(folder: Path) -> Sweep:
    """The sweep that was planned in `folder`. Raises ConfigError where there is none."""
    content = read_plan(folder)
    experiment, seeds = content.get("experiment"), content.get("seeds")
    if not isinstance(experiment, dict) or not (seeds is None or is_count(seeds)):
        raise ConfigError(f"{folder / PLAN}: not the plan of a sweep; make it again with `jaxgpt lab plan`")
    if os.path.lexists(folder / SOURCE):
        import_file(folder / SOURCE)
    origin = content.get("source")
    try:
        experiment = parse(Experiment, experiment)
        return Sweep(folder, experiment, seeds, content["command"], origin=origin if isinstance(origin, str) else None)
    except ConfigError as error:
        raise ConfigError([f"{folder / PLAN}: {problem}" for problem in error.problems]) from None
