"""Question in, table with confidence intervals out."""

import shlex
from pathlib import Path
from typing import NamedTuple

from jaxgpt.disk import resolve, typed
from jaxgpt.lab.analysis.drift import drift
from jaxgpt.lab.analysis.findings import Findings, analyse_sweep
from jaxgpt.lab.analysis.verdict import verdict
from jaxgpt.lab.sweep.folder import Sweep, check_folder, from_file, from_folder
from jaxgpt.lab.workers.execute import execute_sweep
from jaxgpt.shipped import called
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import printable
from jaxgpt.terminal import say, standard_output, table_of

RUNS = Path("runs")
"""Where sweeps lie unless told otherwise, each in a folder of its experiment's name."""


class Ablation(NamedTuple):
    """What one call of `ablate` has left: its report, and runs undone."""

    report: Path
    """report.html."""
    left: int
    """Runs that are left undone: they failed, or their files are damaged."""


def ablate(path: Path, overrides: list[str], seeds: int | None, out: Path | None) -> Ablation:
    """Plans, runs and reports the experiment at `path`; continues by itself what an earlier call left.

    `overrides` (`a.b=c`) edit the base, those of `lab.` how the sweep is executed; `seeds` replaces the experiment's
    number, `out` is the folder of the sweep, `runs/NAME` by default. Prints the table and the report's path. Raises
    ConfigError before anything runs when a field of any arm is wrong or the folder holds something else, SweepError
    when every arm fails alike, KeyboardInterrupt once it has said how to continue.
    """
    sweep = open_sweep(path, overrides, seeds, out)
    sweep.plans()  # faults of any arm, before anything is written
    sweep.write()
    left = execute_sweep(sweep)
    sweep.write()
    return Ablation(_report(sweep, sweep.settings.strict), left)


def report(folder: Path, strict: bool) -> Path:
    """The report of a sweep as far as it has come. `strict`: ConfigError where runs drift apart or are damaged."""
    sweep = from_folder(folder)
    return _report(sweep, strict or sweep.settings.strict)


def _report(sweep: Sweep, strict: bool) -> Path:
    findings = analyse_sweep(sweep)
    if strict and (lines := [*findings.troubles, *(f"{sweep.folder}: {line}" for line in drift(findings))]):
        raise ConfigError(lines)
    for line in findings.troubles:
        say(line)
    return present(findings)


def open_sweep(target: Path, overrides: list[str], seeds: int | None, out: Path | None) -> Sweep:
    """The sweep that a word on the command line means: an experiment's file, or the folder of a sweep."""
    target, out = resolve(target), None if out is None else resolve(out, "--out")
    if target.is_dir():
        if overrides or seeds is not None or out is not None:
            raise ConfigError(f"{target}: a planned sweep takes no changes; name its experiment's file to plan it anew")
        return from_folder(target)
    options = [*(["--seeds", str(seeds)] if seeds is not None else []), *(["--out", typed(out)] if out else [])]
    command = shlex.join(["jaxgpt", "ablate", called(target), *overrides, *options])
    sweep = from_file(target, overrides, seeds, out or resolve(RUNS) / target.stem, command)
    check_folder(sweep)
    if sweep.settings.fuse != "off":
        from jaxgpt.parallel import split_cpu

        split_cpu()
    return sweep


def present(findings: Findings) -> Path:
    """Writes the report, and prints the tables, the verdict and the report's path."""
    from jaxgpt.lab.report import write
    from jaxgpt.lab.report.tables.arms import arm_table, compares
    from jaxgpt.lab.report.tables.contrasts import brief, groups

    written = write(findings)
    out = standard_output()
    tables = [arm_table(findings, full=False)]
    if not compares(findings):
        tables += [brief(findings, contrasts) for _, _, contrasts in groups(findings) if contrasts[0].planned]
    for columns, rows in tables:
        table = table_of(*columns, left=2)
        for row in rows:
            table.add_row(*map(printable, row))
        out.print(table, "", soft_wrap=True)
    for line in (verdict(findings), f"report: {typed(written)}"):
        out.print(printable(line), soft_wrap=True)
    return written
