"""What compiling told, for people."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from jaxgpt.aot.adaptation import WHY, changes
from jaxgpt.aot.compilation import Answer
from jaxgpt.aot.mesh_search import Tried
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.terminal import standard_output

GB = 1e9


def print_answer(answer: Answer, asked: ObjectiveRun) -> None:
    """The whole of it, and what was changed of the run that was asked for, on standard output."""
    out = standard_output(120)
    facts, chip, guess = answer.facts, answer.topology.chip, answer.prediction
    print_line = lambda name, text: out.print(f"{name:18} {text}", soft_wrap=True)  # noqa: E731
    print_line(
        "slice", f"{answer.topology.name} x {answer.topology.copies}: {answer.topology.chips} chips ({chip.kind})"
    )
    print_line("mesh", named(answer.run.exec.mesh.shape(answer.topology.chips)))
    for index, (path, (old, new)) in enumerate(changes(asked, answer.run).items()):
        print_line("" if index else "changed", f"{path} {_said(old)} -> {_said(new)}: {WHY[path]}")
    print_line("attention", ", ".join(f"{name} {kind}" for name, kind in facts["kernels"].items()))
    share = facts["memory_bytes"] / chip.memory
    print_line(
        "memory per chip",
        f"{_gb(facts['memory_bytes'])} of {_gb(chip.memory)} GB ({share:.0%})"
        + ("" if answer.fits else ": does not fit"),
    )
    for name in ("params", "optimizer", "temporary"):
        print_line(f"  {name}", f"{_gb(facts[f'{name}_bytes'])} GB")
    tokens = answer.run.batch_size * answer.run.row_tokens
    print_line("FLOPs a step", f"{tokens * facts['flops_per_token_true']:.3g}, {tokens:,} tokens")
    table = Table("collective", "count", "GB", "seconds", "largest: bytes x times, of", box=None)
    for kind, row in sorted(facts["collectives"].items()):
        top = row["largest"]
        largest = f"{top['bytes']:,} x {top['times']:,} among {top['group']}"
        table.add_row(kind, f"{row['times']:,}", _gb(row["bytes"]), f"{row['seconds']:.3f}", largest)
    out.print(table)
    for name in ("compute", "memory", "network"):
        bind = "  <- binds" if name == guess.binds else ""
        print_line(name, f"{getattr(guess, name):.3f} s{bind}")
    print_line("step", f"{guess.step:.3f} s if all overlap, {guess.apart:.3f} s if the network waits")
    print_line("MFU", f"{guess.ideal / guess.apart:.1%} to {guess.ideal / guess.step:.1%}: bounds, nothing is measured")
    host = facts["host_memory_bytes"] / GB
    seconds = f"{facts['trace_seconds']:.0f} s tracing, {facts['compile_seconds']:.0f} s compiling"
    print_line("compiled in", f"{seconds}, {host:.1f} GB of host memory")


def print_search(tried: Iterable[Tried], asked: ObjectiveRun) -> None:
    """One row a mesh, the best first."""
    table = Table("mesh", "changed", "GB a chip", "step s", "MFU", "binds", "compiled in s", box=None)
    refused = []
    for trial in tried:
        if trial.answer is None:
            refused.append(trial)
            continue
        guess, facts = trial.answer.prediction, trial.answer.facts
        step = f"{guess.step:.3f} to {guess.apart:.3f}"
        mfu = f"{guess.ideal / guess.apart:.1%} to {guess.ideal / guess.step:.1%}"
        took = f"{facts['trace_seconds'] + facts['compile_seconds']:.0f}"
        size = _gb(facts["memory_bytes"]) + ("" if trial.answer.fits else " (does not fit)")
        changed = ", ".join(
            f"{path} {_said(new)}" for path, (_, new) in changes(asked, trial.answer.run).items() if new
        )
        table.add_row(named(trial.mesh), changed, size, step, mfu, guess.binds, took)
    out = standard_output(120)
    out.print(table)
    for trial in refused:
        out.print(f"{named(trial.mesh)}: {trial.why}", soft_wrap=True)


def named(mesh: dict[str, int]) -> str:
    """`fsdp 128 x tensor 8`: the axes that split anything."""
    return " x ".join(f"{name} {size}" for name, size in mesh.items() if size > 1) or "1 device"


def _said(value: Any) -> str:
    """A value as YAML would write it."""
    return "null" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _gb(size: float) -> str:
    return f"{size / GB:,.2f}"
