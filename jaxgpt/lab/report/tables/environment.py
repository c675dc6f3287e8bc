"""On what the runs were computed, from their own provenance.json."""

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.report.tables.arms import in_words
from jaxgpt.lab.run_files import read_json
from jaxgpt.spec.differences import flatten

_LONGEST = 180


def environment(findings: Findings) -> dict[str, str]:
    """Each recorded fact that is short enough to show. One that differs between runs, a drift, shows all its values."""
    seen: dict[str, dict[str, None]] = {}
    for outcome in findings.outcomes:
        for name, value in flatten(read_json(findings.folder / outcome.cell.path / "provenance.json")).items():
            if value not in (None, "", [], {}) and name != "command":
                seen.setdefault(name, {})[in_words(value)] = None
    facts = {name: ("differs: " if len(values) > 1 else "") + " | ".join(values) for name, values in seen.items()}
    return {name: text for name, text in facts.items() if len(name) + len(text) <= _LONGEST}
