"""`jaxgpt lab`: a sweep in parts."""

import signal
from typing import Annotated

import typer

from jaxgpt.arguments import Folder, Out, Overrides, Seeds, Target, before_jax

STOPPED = 75
"""Exit status of a run that a signal stopped after saving (EX_TEMPFAIL): the same command continues it."""

lab = typer.Typer(help="A sweep in parts, for many machines: DIR is its folder.", no_args_is_help=True)


@lab.command("plan")
def lab_plan(
    target: Target,
    overrides: Overrides = None,
    seeds: Seeds = None,
    out: Out = None,
    detect: Annotated[float | None, typer.Option(help="the difference to find: how many seeds?", metavar="D")] = None,
) -> None:
    """Arms, runs, cost and time, before anything starts; writes the plan that workers follow."""
    from jaxgpt.lab.commands.preview import preview

    before_jax()
    preview(target, overrides or [], seeds, out, detect)


@lab.command("work")
def lab_work(folder: Folder) -> None:
    """Join as a worker: claim runs until none is left. Start as many as you like. Exit status 4: some runs failed."""
    from jaxgpt.lab.workers.engines import FAILED
    from jaxgpt.lab.workers.worker import join

    before_jax()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run saves first; all else stops where it is
    try:
        left = join(folder)
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None
    if left:
        raise typer.Exit(FAILED)


@lab.command("status")
def lab_status(
    folder: Folder, watch: Annotated[bool, typer.Option("--watch", help="refresh until all is done")] = False
) -> None:
    """What is done, running, failed and waiting, who works, and how long it will take."""
    from jaxgpt.lab.commands.status import show_status

    show_status(folder, watch)


@lab.command("report")
def lab_report(
    folder: Folder, strict: Annotated[bool, typer.Option("--strict", help="drift between runs is an error")] = False
) -> None:
    """Write the report of what has ended so far, and print its table."""
    from jaxgpt.lab.commands.ablate import report

    report(folder, strict)


@lab.command("why")
def lab_why(target: Target, overrides: Overrides = None, seeds: Seeds = None, out: Out = None) -> None:
    """Why each run would be done, continued or left alone by the next call."""
    from jaxgpt.lab.commands.why import explain

    before_jax()
    explain(target, overrides or [], seeds, out)
