"""A table of a report, before a medium gives it its look."""

from typing import NamedTuple


class Table(NamedTuple):
    """Headings, and rows of as many cells, as text that no medium has escaped yet."""

    columns: list[str]
    rows: list[list[str]]
