"""Exec: how a run is computed. Recorded, but not part of its identity."""

from typing import Literal

import jax
from pydantic import Field, PositiveInt

from jaxgpt.nn.stack import Loop, Remat
from jaxgpt.ops.attention import Auto, Kernel
from jaxgpt.parallel import Mesh, Rules, Standard
from jaxgpt.spec import Spec
from jaxgpt.train.sinks import Sink


class Exec(Spec):
    """Where and how; results agree to rounding whatever is chosen here."""

    mesh: Mesh = Mesh()
    rules: Rules = Standard()
    kernel: Kernel = Auto()
    """What computes attention; `auto` picks for each pattern, and provenance.json says what."""
    layers: Literal["auto", "scan", "unroll"] = "auto"
    """The loop over layers: unrolling runs faster, scanning compiles faster. auto: scan from 16 layers on."""
    remat: Remat = "none"
    """What the backward pass recomputes: `block` all but block inputs, `dots` all but matmul results."""
    accumulate: PositiveInt = 1
    """Parts a batch is computed in, one after the other, to save memory."""
    log_every: PositiveInt = 10
    """Steps between rows of metrics.jsonl."""
    save_every: PositiveInt | None = 1000
    """Steps between checkpoints; null: the last only."""
    keep: PositiveInt = 2
    """Newest checkpoints kept."""
    keep_best: bool = True
    """Whether every step with the best val/loss so far is saved too, and the best kept."""
    max_skips: int = Field(default=5, ge=0)
    """Updates in a row that may be dropped for a NaN or infinite gradient before the run counts as diverged."""
    compilation_cache: bool = True
    """Keeps compiled programs between processes, in the cache folder."""
    sinks: tuple[Sink, ...] = ()
    """Trackers that get every row of metrics besides metrics.jsonl."""

    def loop(self, num_layers: int) -> Loop:
        """`layers`, resolved."""
        if self.layers != "auto":
            return self.layers
        return "scan" if num_layers >= 16 and jax.default_backend() != "cpu" else "unroll"
