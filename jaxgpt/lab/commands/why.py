"""Why a run would be done again: every reason is a difference that can be shown."""

import contextlib
import os
from pathlib import Path

from jaxgpt.lab.commands.ablate import open_sweep
from jaxgpt.lab.run_files import damage, read_json, read_metrics, read_result
from jaxgpt.lab.sweep.plan import Cell
from jaxgpt.lab.workers import failure
from jaxgpt.spec import ConfigError, diff
from jaxgpt.spec.errors import printable, quote
from jaxgpt.spec.yamlio import read_yaml
from jaxgpt.terminal import say


def explain(target: Path, overrides: list[str], seeds: int | None, out: Path | None) -> None:
    """Prints a line for each run of the sweep that `target` means. Writes nothing."""
    sweep = open_sweep(target, overrides, seeds, out)
    counts = {"left alone": 0, "continues": 0, "runs": 0}
    for plan in sweep.plans():
        for cell in plan.cells:
            verb, reason = why(cell, sweep.folder)
            counts[verb] += 1
            print(printable(f"{cell.path}  {verb}: {reason}"))
    say("; ".join(f"{count} {verb}" for verb, count in counts.items()))


def why(cell: Cell, folder: Path) -> tuple[str, str]:
    """`left alone`, `continues` or `runs`, and the reason."""
    home = folder / cell.path
    if (line := damage(home)) is not None:
        return "left alone", line
    result = read_result(home)
    if result is not None:
        return "left alone", f"{result['status']} at step {result.get('step', '?')}"
    failed = failure.read(home)
    if failed is not None:
        return "runs", f"failed before ({failed.cls}): {failed.line}"
    if os.path.lexists(home / "config.yaml"):
        rows = read_metrics(home)
        state = read_json(home / "status.json").get("status", "started")
        return "continues", f"{state}, last measured at step {rows[-1]['step'] if rows else 0} of {cell.run.steps}"
    return "runs", _difference(cell, home)


def _difference(cell: Cell, home: Path) -> str:
    """What sets it apart from the most similar run that the arm and seed already have."""
    near = []
    for other in home.parent.glob(f"s{cell.run.seed:02d}-*") if home.parent.is_dir() else ():
        with contextlib.suppress(ConfigError):  # it has no config, or a torn one: it is not what we look for
            fields = {name: value for name, value in read_yaml(other / "config.yaml").items() if name != "exec"}
            near.append((diff(fields, cell.run.settings()), other.name))
    if not near:
        return "no run of this arm and seed yet"
    changed, name = min(near, key=lambda item: len(item[0]))
    for derived in ("model.vocab_size", "objective.masking.mask_id"):  # by the tokenizer, when the run began
        if changed.get(derived, (0, 0))[1] is None:
            del changed[derived]
    differences = ", ".join(f"{path} {quote(old)} -> {quote(new)}" for path, (old, new) in changed.items())
    return f"unlike {name}: {differences or 'the code of the experiment file changed'}"
