"""Question in, table with confidence intervals out."""

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jaxgpt.lab.execute import execute
from jaxgpt.lab.findings import Findings, analyse
from jaxgpt.lab.load import load
from jaxgpt.lab.plan import plan
from jaxgpt.lab.verdict import verdict


def ablate(path: Path, overrides: list[str], seeds: int | None, out: Path | None) -> Path:
    """Plans, runs and reports the experiment at `path`; continues by itself what an earlier call left.

    `overrides` (`a.b=c`) edit the base, `seeds` replaces the experiment's number, `out` is `runs` by default. Prints
    the table and the report's path, which it returns. Raises ConfigError before anything runs when a field of any arm
    is wrong, SweepError when every arm fails alike, KeyboardInterrupt once it has said how to continue.
    """
    path = Path(path)
    options = [*(["--seeds", str(seeds)] if seeds is not None else []), *(["--out", str(out)] if out else [])]
    command = shlex.join(["jaxgpt", "ablate", str(path), *overrides, *options])
    planned = plan(load(path), path.stem, path.parent, overrides, seeds, command)
    out = out or Path("runs")
    execute(planned, out)
    return present(analyse(planned, out))


def present(findings: Findings) -> Path:
    """Writes the report, and prints the table, the verdict and the report's path."""
    from jaxgpt.lab.report import write
    from jaxgpt.lab.report.tables import arm_columns, arm_rows

    written = write(findings)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for i, name in enumerate(arm_columns(findings, full=False)):
        table.add_column(name, justify="right" if i > 1 else "left", no_wrap=True)
    for row in arm_rows(findings, full=False):
        table.add_row(*row)
    results = Console(highlight=False)  # standard output: what a person waited for, not the waiting
    results.print(table, soft_wrap=True)
    results.print("", verdict(findings), f"report: {written}", sep="\n", soft_wrap=True, markup=False)
    return written
