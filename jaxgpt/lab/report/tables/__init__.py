"""The tables of a report: the same headings and rows for every medium."""
