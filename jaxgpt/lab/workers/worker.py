"""`jaxgpt lab work DIR`: one of the workers of a planned sweep."""

from pathlib import Path

from jaxgpt.lab.sweep.folder import from_folder
from jaxgpt.lab.workers.work import work
from jaxgpt.terminal import say


def join(folder: Path) -> int:
    """Works on every stage of the sweep in `folder` until nothing is left, waiting for what others hold.

    Returns how many runs are left undone: they failed, or their files are damaged. Raises ConfigError where there is no
    sweep, SweepError when every arm fails alike, KeyboardInterrupt when a signal stopped it with its run saved.
    """
    sweep = from_folder(folder)
    if sweep.settings.fuse != "off":
        from jaxgpt.parallel import split_cpu

        split_cpu()
    if sweep.tuning.cells:
        left = work(sweep.tuning, folder, sweep.settings)
        if sweep.tuned() is None:
            say(f"{folder}: some tuning runs failed; the runs that need their choice wait")
            return left
        sweep.write()
    return work(sweep.plan(), folder, sweep.settings)
