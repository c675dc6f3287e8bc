"""How the runs were computed: each on its own or fused, and why."""

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.run_files import is_count, is_figure, read_json
from jaxgpt.lab.sweep.grouping import FILE, read_mode
from jaxgpt.spec import ConfigError
from jaxgpt.terminal import clock

ONE = "All runs: one commit, one set of libraries, one device."


def computed(findings: Findings, drifts: list[str]) -> str:
    """How, and that nothing drifted between the runs if nothing did."""
    return _mode(findings) if drifts else f"{_mode(findings)} {ONE}"


def _mode(findings: Findings) -> str:
    """`Fused: 24 runs, 2 to a program (0.57 of the solo time: …).`"""
    modes = [o.mode for o in findings.all_outcomes if o.result]
    if not modes:
        return "No run has ended."
    solo, fused = modes.count("solo"), modes.count("fused")
    try:
        mode = read_mode(findings.folder)
    except ConfigError:  # torn: the runs say themselves how they were computed
        mode = None
    why = f" ({mode.why}{_measured(findings)})" if mode else ""
    if fused and solo:
        return f"Mixed: {fused} runs fused, {solo} solo. The two agree to rounding only and are never paired."
    if fused:
        lanes = f", {mode.lanes} to a program" if mode else ""
        return f"Fused: {fused} runs{lanes}{why}. A lane has the same bits whatever its neighbours."
    return f"Solo: {solo} runs, each on its own{why}."


def _measured(findings: Findings) -> str:
    measured = read_json(findings.folder / FILE).get("measured")
    if not isinstance(measured, dict):
        return ""
    ways = [way for name in ("fused", "solo") if isinstance(way := measured.get(name), dict)]
    times = [clock(spent) for way in ways if is_figure(spent := way.get("all"))]
    if len(times) < 2 or not is_count(measured.get("runs")):
        return ""
    fused, solo = times
    runs, how = measured["runs"], "compiling included, by 20 steps timed each way"
    return f": {runs} runs take {fused} fused and {solo} solo, {how}"
