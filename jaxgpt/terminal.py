"""What a person watches while waiting. A live line on a terminal; a plain line every few seconds anywhere else."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from jaxgpt.spec.errors import printable


class _Console(Console):
    def show_cursor(self, show: bool = True) -> bool:
        """Leaves the cursor as it is: a process that is killed while progress is shown could not bring it back."""
        return False


console = _Console(stderr=True, highlight=False)
"""Everything for people goes to standard error; standard output carries results only."""


def say(line: str, style: str | None = None) -> None:
    """A line for people, whole, for commands are copied from it. What a terminal would obey is spelled out."""
    console.print(printable(line), style=style, markup=False, soft_wrap=True)


def standard_output(width: int | None = None) -> Console:
    """Standard output, for what a verb was asked for; `width`: letters in a line where it is no terminal."""
    out = Console(highlight=False, markup=False)
    return out if out.is_terminal or width is None else Console(highlight=False, markup=False, width=width)


def table_of(*names: str, left: int) -> Table:
    """A table without lines, to be filled: the first `left` columns go to the left, figures to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, name in enumerate(names):
        table.add_column(printable(name), justify="left" if index < left else "right", no_wrap=True)
    return table


@contextmanager
def interruptible() -> Iterator[None]:
    """While in it, Ctrl-C raises KeyboardInterrupt, for what must say or tidy something; the command line else ends at
    once. In any other Python program it changes nothing."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def clock(seconds: float) -> str:
    """`75.3` -> `1:15`, `7322` -> `2:02:02`."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def byte_size(amount: float) -> str:
    """A number of bytes, three digits and a unit of a thousand: `3.2 GB`."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.3g} {units[0]}"


class Watch:
    """A progress line with rate and time left.

        with Watch("tokenize", total=files, unit="files") as watch:
            watch.update(done, loss="3.21")

    Time left counts from the work done since `start`, so a resumed run does not flatter itself, and from the moment of
    `restart`, so that compiling does not count. Shown only once the work has lasted `after` seconds; `quiet=True` shows
    nothing.
    """

    def __init__(
        self, label: str, total: float, unit: str = "", start: float = 0, quiet: bool = False, after: float = 1.0
    ):
        self.label, self.total, self.unit, self.start = printable(label), total, unit, start
        self.quiet, self.after, self.done = quiet, after, start
        self.live = console.is_terminal and not quiet
        self._began = self._shown = self._rated = time.monotonic()
        self._interval = after
        self._bar: Progress | None = None

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        if self._bar is not None:
            self._bar.stop()

    def line(self, done: float, **facts: str) -> str:
        """The text of one update: share done, rate, time left, then the facts in order."""
        elapsed = time.monotonic() - self._rated
        rate = (done - self.start) / elapsed if elapsed > 0 else 0.0
        left = clock((self.total - done) / rate) if rate > 0 else "?"
        parts = [f"{done:,.0f}/{self.total:,.0f} {self.unit}".rstrip()]
        parts += [f"{name} {value}" for name, value in facts.items()]
        if self.unit and "tokens/s" not in facts and rate > 0:
            parts.append(f"{rate:,.1f} {self.unit}/s")
        return " · ".join([*parts, f"{left} left"])

    def restart(self, done: float) -> None:
        """Takes rate and time left from what is done from here on: what came before was no measure of it."""
        self.start, self._rated = done, time.monotonic()

    def update(self, done: float, **facts: str) -> None:
        """Shows the state; cheap enough to call every step."""
        self.done = done
        now = time.monotonic()
        if self.quiet or now - self._began < self.after:
            return
        if self.live:
            if self._bar is None:
                texts = [TextColumn(f"{{task.{name}}}", markup=False) for name in ("description", "fields[text]")]
                columns = (texts[0], BarColumn(24), texts[1])
                self._bar = Progress(*columns, console=console, transient=True)
                self._bar.add_task(self.label, total=self.total, text="")
                self._bar.start()
            self._bar.update(self._bar.task_ids[0], completed=done, text=self.line(done, **facts))
        elif now - self._shown >= self._interval or done >= self.total:
            self._shown = now
            self._interval = 10.0
            print(f"{self.label}: {self.line(done, **facts)}", file=sys.stderr, flush=True)
