"""The report: one self-contained HTML page, the same in Markdown, the figures as CSV, and a picture for a paper."""

from pathlib import Path

from jaxgpt.lab.findings import Findings
from jaxgpt.lab.record import write_text


def write(findings: Findings) -> Path:
    """Writes report.html, report.md, results.csv, figure.png and figure.pdf into the experiment's folder.

    Returns the path of report.html.
    """
    from jaxgpt.lab.report.figure import save_figure
    from jaxgpt.lab.report.html import page
    from jaxgpt.lab.report.tables import csv_text, markdown

    folder = findings.folder
    write_text(folder / "results.csv", csv_text(findings))
    save_figure(findings, folder)
    write_text(folder / "report.md", markdown(findings))
    return write_text(folder / "report.html", page(findings))
