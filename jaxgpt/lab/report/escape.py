"""Text that somebody else wrote, as each output shows it: as it stands, and obeyed by none of them.

A question, the name of a contrast or of a metric, a host, an error: any of them may hold what a browser, a
spreadsheet, a renderer of Markdown or a terminal takes for an order. `latex.escape` does the same for TeX, and
`jaxgpt.spec.errors.printable` for terminals.
"""

import html
import re
from typing import Any

from jaxgpt.spec.errors import printable

LONGEST = 200
"""Characters of a text in a picture."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKED = re.compile(
    r"""[\\`*|~$&#]            # code, emphasis, cells, strikes, mathematics, entities, headings
    | (?<![^\W_]) _ | _ (?![^\W_])      # emphasis: not inside a word
    | \[ (?! [+−\d][\d.,+−\s]* \] (?:\s|$) )    # a link: an interval is none
    | < (?! [\s\d] )                    # a tag
    | : (?= //)                         # an address becomes a link by itself
    | (?<= \bwww) \.
    | ^ (?: > | [-+] (?=[-\s]|$) | = | (?<!\d) \d{1,9} (?= [.)] (?:\s|$) ) )    # what begins a block
    """,
    re.VERBOSE,
)


def one_line(text: str) -> str:
    """The text on one line, with what no reader would see spelled out."""
    return printable("".join(" " if char.isspace() else char for char in text))


def for_html(text: str) -> str:
    """Text for the content of an element or an attribute in quotes."""
    return html.escape(one_line(text))


def for_html_lines(text: str) -> str:
    """Text of several lines, for the content of a `<pre>`."""
    return "\n".join(map(for_html, text.split("\n")))


def for_markdown(text: str) -> str:
    """Text for a line, a heading, an item of a list or a cell of a table."""
    return _MARKED.sub(_neutral, one_line(text).strip())


def for_markdown_code(text: str) -> str:
    """Text as code within a line, in a fence that is longer than any inside."""
    text = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}" if text.strip() else ""


def for_csv(value: Any) -> Any:
    """A cell: a text that a spreadsheet would take for a formula begins with an apostrophe; a number stays one."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if value.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def for_figure(text: str) -> str:
    """Text for matplotlib, which sets what stands between dollars as mathematics."""
    text = one_line(text)
    return (text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…").replace("$", r"\$")


def _neutral(match: re.Match[str]) -> str:
    """A number that would begin a list is neutral by what follows it."""
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"
