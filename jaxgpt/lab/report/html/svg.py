"""A matplotlib SVG made fit to stand inside a page: no outside address, no clashing id, the page's colours."""

import re

from jaxgpt.lab.report.escape import for_html
from jaxgpt.plots.palette import dark_twins


def inline(document: str, prefix: str, label: str) -> str:
    """The `<svg>` element alone. `prefix` keeps its ids apart from other pictures', `label` is read aloud. Links to the
    rows of runs stay."""
    element = document[document.index("<svg") :].strip()
    element = re.sub(r"\s*<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'\s+xmlns(:xlink)?="[^"]*"', "", element).replace("xlink:href", "href")
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = re.sub(r'(href="|url\()#(?!run-)', rf"\g<1>#{prefix}-", element)
    head = f'<svg role="img" aria-label="{for_html(label)}"'
    element = re.sub(r'<svg width="[^"]*" height="[^"]*"', lambda _: head, element, count=1)
    for colour in dark_twins():
        element = element.replace(colour, f"var({variable(colour)})")
    return element


def variable(colour: str) -> str:
    """The CSS variable that stands for a light colour: `#0072b2` -> `--c0072b2`."""
    return f"--c{colour.removeprefix('#')}"
