"""results.csv: one line a run."""

import csv
import io
import math

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.report.escape import for_csv


def csv_text(findings: Findings) -> str:
    """One line a run. Holds nothing that a clock measured, so equal runs give equal bytes."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    metric = findings.plan.experiment.metric
    heads = ["experiment", "arm", "seed", "run", "budget", "mode", "status", "step", "tokens", metric]
    writer.writerow(map(for_csv, heads))
    for outcome in findings.all_outcomes:
        cell, result = outcome.cell, outcome.result
        value = "" if math.isnan(outcome.value) else outcome.value
        which = [cell.arm, cell.run.seed, cell.id, "+".join(cell.budgets), outcome.mode if result else ""]
        ends_at = [result.get("step", ""), result.get("tokens", "")]
        row = [findings.plan.name, *which, outcome.status, *ends_at, value]
        writer.writerow(map(for_csv, row))
    return buffer.getvalue()
