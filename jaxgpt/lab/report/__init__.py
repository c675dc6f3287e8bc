"""The report: one self-contained HTML page, the same in Markdown, tables for a paper, figures as CSV, and a picture."""

from pathlib import Path

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.run_files import write_text


def write(findings: Findings) -> Path:
    """Writes report.html, report.md, report.tex, results.csv, figure.png and figure.pdf into the experiment's folder.

    Returns the path of report.html.
    """
    from jaxgpt.lab.report.csv import csv_text
    from jaxgpt.lab.report.figures.figure import save_figure
    from jaxgpt.lab.report.html.page import page
    from jaxgpt.lab.report.latex import latex
    from jaxgpt.lab.report.markdown import markdown

    folder = findings.folder
    write_text(folder / "results.csv", csv_text(findings))
    save_figure(findings, folder)
    write_text(folder / "report.md", markdown(findings))
    write_text(folder / "report.tex", latex(findings))
    return write_text(folder / "report.html", page(findings))
