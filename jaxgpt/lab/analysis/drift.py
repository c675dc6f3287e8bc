"""Drift: runs of one table that were made by different code, libraries or devices."""

from collections.abc import Mapping
from typing import Any

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.run_files import read_json
from jaxgpt.spec import digest
from jaxgpt.spec.differences import flatten

WATCHED = ("commit", "diff", "versions", "devices", "flags", "corpus_sha256", "tokenizer_digest")
"""What of provenance.json should be one for all runs of a table. `diff` is compared by digest."""
SPREAD = ("tokenizer_digest", "corpus_sha256")
"""Of these a difference between arms may be the question; within an arm it is drift."""

_LONGEST = 100


def drift(findings: Findings) -> list[str]:
    """A line for each fact that differs between runs that should share it, and which runs have which value."""
    cells = {o.cell.path: o.cell for o in findings.all_outcomes if o.status in ("finished", "diverged")}
    facts = {path: own for path in cells if (own := _facts(read_json(findings.folder / path / "provenance.json")))}
    seen: dict[tuple[str, str], dict[str, list[str]]] = {}
    for name in dict.fromkeys(name for own in facts.values() for name in own):
        for path, own in facts.items():  # a fact that a run lacks, as a flag that was not set, differs as well
            group = cells[path].arm if name in SPREAD else ""
            seen.setdefault((name, group), {}).setdefault(own.get(name, ""), []).append(cells[path].id)
    lines = []
    for (name, group), values in seen.items():
        if len(values) > 1:
            listed = ", ".join(f"{value or 'none'} ({len(ids)} runs, as {ids[0]})" for value, ids in values.items())
            lines.append(f"{name} differs{f' within arm {group}' if group else ''}: {listed}")
    return lines


def _facts(provenance: Mapping[str, Any]) -> dict[str, str]:
    watched = {name: value for name in WATCHED if (value := provenance.get(name))}
    if watched.get("diff"):
        watched["diff"] = digest(watched["diff"])
    if watched.get("commit"):
        watched["commit"] = str(watched["commit"])[:10]
    return {name: _short(value) for name, value in flatten(watched).items() if value is not None}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({digest(text, 6)})"
