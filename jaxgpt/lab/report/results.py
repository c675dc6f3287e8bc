"""results.csv: one line a run."""

import csv
import io
import math

from jaxgpt.lab.findings import Findings
from jaxgpt.lab.report.tables import everything


def csv_text(findings: Findings) -> str:
    """One line a run. Holds nothing that a clock measured, so equal runs give equal bytes."""
    held = io.StringIO()
    writer = csv.writer(held, lineterminator="\n")
    metric = findings.plan.experiment.metric
    writer.writerow(["experiment", "arm", "seed", "run", "budget", "mode", "status", "step", "tokens", metric])
    for outcome in everything(findings):
        cell, result = outcome.cell, outcome.result
        value = "" if math.isnan(outcome.value) else repr(outcome.value)
        which = [cell.arm, cell.run.seed, cell.id, "+".join(cell.axes), outcome.mode if result else ""]
        ends_at = [result.get("step", ""), result.get("tokens", "")]
        writer.writerow([findings.plan.name, *which, outcome.status, *ends_at, value])
    return held.getvalue()
