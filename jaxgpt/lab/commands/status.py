"""`jaxgpt lab status`: where a sweep stands, on one screen."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jaxgpt.lab.commands.status_files import STATES, SweepStatus, read_status
from jaxgpt.spec.errors import printable
from jaxgpt.terminal import clock, interruptible, standard_output, table_of

__all__ = ["SweepStatus", "read_status", "show_status"]

REFRESH = 2.0
"""Seconds between two looks of `--watch`."""
ARMS, WORKERS, FAILURES = 24, 12, 5
"""What one screen holds of each."""
_STYLES = dict(zip(STATES, ("green", "magenta", "cyan", "yellow", "red", "red", "dim"), strict=True))


def show_status(folder: Path, watch: bool = False) -> None:
    """Prints the state of the sweep in `folder`; with `watch` again and again until all is over, or Ctrl-C.

    Raises ConfigError as `read_status` does.
    """
    screen = standard_output()
    status = read_status(folder)
    if not watch:
        screen.print(board(status), soft_wrap=True)  # the command is copied from here
        return
    with interruptible(), Live(board(status), console=screen, auto_refresh=False, vertical_overflow="crop") as live:
        try:
            while not status.over or _alive(status):
                time.sleep(REFRESH)
                status = read_status(folder)
                live.update(board(status), refresh=True)
        except KeyboardInterrupt:  # enough seen
            return


def board(status: SweepStatus) -> RenderableType:
    """All that the screen shows: totals, arms, workers, failures, what to do next."""
    parts: list[RenderableType] = [_text(f"{status.name}: {status.question}", style="bold"), _totals(status)]
    parts += [Text(), _arms(status)]
    if status.workers:
        parts += [Text(), _workers(status)]
    if status.failures:
        parts += [Text(), *_failures(status)]
    if status.troubles:
        parts += [Text(), *_troubles(status)]
    notes = []
    if status.orphans:
        notes.append(f"{status.orphans} run folders of earlier plans lie here too; they are not counted")
    if status.counts["failed"] + status.counts["stopped"] + status.counts["waiting"] and not _alive(status):
        notes.append(f"nobody is at work; to continue: {status.command}")
    return Group(*parts, *([Text()] if notes else []), *(_text(note) for note in notes))


def _text(text: str, **look: Any) -> Text:
    """Text for the screen, with what a terminal would obey spelled out."""
    return Text(printable(text), **look)


def _totals(status: SweepStatus) -> Text:
    """`12 runs: 8 finished · 1 failed (bug 1) · 3 waiting`, then steps, rate and time left."""
    text = Text(f"{len(status.runs):,} runs: ")
    shown = [state for state in STATES if status.counts[state]]
    for i, state in enumerate(shown):
        text.append(" · " if i else "").append(f"{status.counts[state]:,} {state}", style=_STYLES[state])
        if state == "failed":
            text.append(f" ({', '.join(f'{cls} {n}' for cls, n in sorted(status.classes.items()))})")
    facts = [f"{sum(run.step for run in status.runs):,} of {sum(run.steps for run in status.runs):,} steps"]
    if status.rate:
        facts.append(f"{status.rate:,.1f} steps/s")
    elif status.pace:
        facts.append(f"{status.pace:,.1f} steps/s of one run so far")
    if status.eta is not None:
        facts.append(f"about {clock(status.eta)} left")
    return text.append("\n" + " · ".join(facts))


def _arms(status: SweepStatus) -> Table:
    states = [state for state in STATES if status.counts[state]]
    table = table_of("arm", *states, left=1)
    for arm, counts in list(status.arms.items())[:ARMS]:
        table.add_row(printable(arm), *(Text(str(counts[state] or "·"), style=_STYLES[state]) for state in states))
    for rest in _more(len(status.arms) - ARMS, "arms"):
        table.add_row(rest)
    return table


def _workers(status: SweepStatus) -> Table:
    table = table_of("worker", "at work on", "for", "step", "steps/s", left=2)
    runs = {run.id: run for run in status.runs}
    for worker in status.workers[:WORKERS]:
        covered = [runs[name] for name in worker.covers if name in runs]
        rates = [run.rate for run in covered if run.rate]
        alone = covered[0] if len(covered) == 1 else None
        unit = f"{alone.arm} s{alone.seed:02d}" if alone else f"{len(covered)} runs ({worker.key})"
        table.add_row(
            printable(f"{worker.host}:{worker.pid}" + ("" if worker.alive else " (silent)")),
            printable(unit),
            clock(max(0.0, time.time() - worker.since)),
            f"{sum(run.step for run in covered):,}/{sum(run.steps for run in covered):,}",
            f"{sum(rates):,.1f}" if rates else "",
            style=None if worker.alive else _STYLES["stopped"],
        )
    for rest in _more(len(status.workers) - WORKERS, "workers"):
        table.add_row(rest)
    return table


def _failures(status: SweepStatus) -> Sequence[RenderableType]:
    lines = []
    for run in status.failures[:FAILURES]:
        if run.failure:
            tries = f", {run.failure.attempts} tries" if run.failure.attempts > 1 else ""
            line = _text(
                f"{run.path} ({run.failure.cls}{tries}): {run.failure.line}", overflow="ellipsis", no_wrap=True
            )
            lines += [line, _text(f"  {run.failure.where}", style="dim", overflow="ellipsis", no_wrap=True)]
    return [*lines, *_more(len(status.failures) - FAILURES, "failures")]


def _troubles(status: SweepStatus) -> Sequence[RenderableType]:
    lines = [_text(line, style="red") for line in status.troubles[:FAILURES]]
    return [*lines, *_more(len(status.troubles) - FAILURES, "damaged files")]


def _alive(status: SweepStatus) -> bool:
    return any(worker.alive for worker in status.workers)


def _more(count: int, what: str) -> list[Text]:
    """What is said of those that a screen has no room for."""
    return [Text(f"and {count} more {what}", style="dim")] if count > 0 else []
