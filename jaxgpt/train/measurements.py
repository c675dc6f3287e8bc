"""The measurements of a run in progress: rows one step late, speed, the best so far. Host side only."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from jaxgpt.parallel import training_devices
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.run import Row
from jaxgpt.terminal import Watch
from jaxgpt.train.peak_flops import rated_flops


class Waiting(NamedTuple):
    """A step that has been dispatched and whose metrics nobody has read."""

    step: int
    tokens: int
    metrics: Mapping[str, Any]
    log: bool
    signal: Any
    """An array: what the device has ready once it has made the step."""


class Record:
    """Turns device metrics into rows. Reading a step's metrics waits for the device, so each is read one late."""

    def __init__(
        self,
        run: ObjectiveRun,
        listeners: Sequence[Callable[[Row], None]],
        line: Watch,
        meta: Mapping[str, Any] | None,
        tokens_per_byte: float | None = None,
        share: float = 1.0,
    ):
        """`tokens_per_byte` is that of the held-out text (`TrainingData.val_tokens_per_byte`); without it, or where the
        objective is not to predict the next token, there is no `val/bpb`. `share` is the part of the machine that
        the run has, and so of the time that it is charged."""
        meta = meta or {}
        self.best: dict[str, float | None] = {name: meta.get(f"best_{name}") for name in ("val/loss", run.judged_by)}
        """The best so far of the loss, and of the figure by which checkpoints are judged."""
        self.since_best: int = meta.get("since_best", 0)
        self.skips: int = meta.get("skips", 0)
        """How many updates before now were dropped, one after another."""
        self.broken = False
        """Whether an update made weights that are not finite: they must not be saved."""
        self.last: Row = dict(meta.get("last", {}))
        """The newest value of every column of metrics.jsonl."""
        self._seconds: float = meta.get("seconds", 0.0)
        self._share = share
        self._run, self._listeners, self._line = run, listeners, line
        self._waiting: Waiting | None = None
        self._began = time.monotonic()
        self._mark: tuple[float, int] | None = None
        self._bits = tokens_per_byte / math.log(2) if tokens_per_byte and run.objective.next_token else None
        self._flops = run.flops_per_token()

    @property
    def seconds(self) -> float:
        """Wall-clock time of the run, over all its starts."""
        return self._seconds + self._share * (time.monotonic() - self._began)

    def verdict(self) -> str | None:
        """How the run has ended, judged by what has been read so far; None while it may go on."""
        if self.broken or self.skips > self._run.exec.max_skips:
            return "diverged"
        patience = self._run.eval.patience
        return "finished" if patience is not None and self.since_best >= patience else None

    def meta(self) -> Row:
        """What a checkpoint keeps, so that a resumed run records as if it had never stopped."""
        return {
            **{f"best_{name}": value for name, value in self.best.items()},
            "since_best": self.since_best,
            "skips": self.skips,
            "seconds": self.seconds,
            "last": self.last,
        }

    def step(self, step: int, tokens: int, metrics: Mapping[str, Any], log: bool, signal: Any) -> None:
        """Notes a dispatched step, and reads the one before it. `signal` is anything that the step computes."""
        newest = Waiting(step, tokens, metrics, log, signal)
        self._read(newest)
        self._waiting = newest
        if self._mark is None:  # the first step of this process compiles: the clock starts behind it
            signal.block_until_ready()
            self._mark = (time.monotonic(), tokens)

    def flush(self, **more: float) -> None:
        """Reads the waiting step; writes its row if it was to be logged. `more` joins the row."""
        self._read(self._waiting, **more)

    def _read(self, newest: Waiting | None, **more: float) -> None:
        """`newest` is the last step dispatched: the clock counts it where the device has made it already."""
        if self._waiting is None or newest is None:
            return
        step, tokens, metrics, log, _ = self._waiting
        self._waiting = None
        self.skips = self.skips + 1 if metrics["skipped"] else 0
        self.broken = self.broken or not metrics["finite"]
        if not log and self.verdict() != "diverged":
            return
        now, reached = time.monotonic(), newest.tokens if newest.signal.is_ready() else tokens
        loss, lr, norm = (float(metrics[name]) for name in ("loss", "lr", "grad_norm"))
        row: Row = {"step": step, "tokens": tokens, "train/loss": loss, "lr": lr, "grad_norm": norm, **more}
        row |= {name: float(value) for name, value in metrics.items() if name.startswith("aux/")}
        assert self._mark is not None
        elapsed, done = now - self._mark[0], reached - self._mark[1]
        if done > 0 and elapsed > 0:
            row |= self._speed(done / elapsed)
            self._mark = (now, reached)
        self.last |= row
        for listen in self._listeners:
            listen(row)
        self._line.update(step, **self._facts())

    def validation(self, figures: Mapping[str, float]) -> bool:
        """Writes the waiting row with what a pass measured: `val/loss` (nats a token, say), beside it `val/bpb` (bits
        per byte), and others; whether it is the best so far by the figure that checkpoints are judged by."""
        better = False
        for name, best in self.best.items():
            value = figures.get(name)
            sign = -1 if name.removeprefix("val/") in self._run.objective.falling else 1
            if value is not None and math.isfinite(value) and (best is None or sign * value > sign * best):
                self.best[name] = value
                better = better or name == self._run.judged_by
        self.since_best = 0 if better else self.since_best + 1
        loss = figures.get("val/loss")
        bits = {} if loss is None or self._bits is None else {"val/bpb": loss * self._bits}
        self.flush(**figures, **bits)
        return better

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside does not count against tokens_per_second. That of the pending step does, so it is awaited
        first: whatever reads the state would wait for it inside."""
        if self._waiting is not None:
            self._waiting.signal.block_until_ready()
        began = time.monotonic()
        yield
        if self._mark is not None:
            self._mark = (self._mark[0] + time.monotonic() - began, self._mark[1])

    def _speed(self, tokens_per_second: float) -> Row:
        """MFU is null where no data sheet gives the peak, or where the clock cannot be right."""
        rated = rated_flops()
        share = tokens_per_second * self._flops / (rated * len(training_devices())) if rated else math.inf
        return {"tokens_per_second": round(tokens_per_second, 1), "mfu": round(share, 4) if share <= 1 else None}

    def result(self, status: str) -> Row:
        """The content of result.json."""
        best = {f"best_{name}": value for name, value in self.best.items()}
        return {**self.last, **best, "seconds": round(self.seconds, 3), "status": status}

    def _facts(self) -> dict[str, str]:
        facts = {"loss": _text(self.last["train/loss"])}
        if "val/loss" in self.last:
            facts["val"] = _text(self.last["val/loss"])
        name = self._run.judged_by
        if name != "val/loss" and self.last.get(name) is not None:
            facts[name.removeprefix("val/")] = f"{self.last[name]:.4g}"
        if "tokens_per_second" in self.last:
            facts["tokens/s"] = f"{self.last['tokens_per_second']:,.0f}"
            mfu = self.last.get("mfu")
            facts["mfu"] = "n/a" if mfu is None else f"{mfu:.1%}"
        return facts


def _text(loss: float | None) -> str:
    """The loss for the progress line; None stands for one that was not finite, as JSON has it."""
    return "nan" if loss is None else f"{loss:.4f}"
