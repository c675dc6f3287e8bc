"""Exec: how a run is computed. Recorded, but not part of its identity."""

from typing import Annotated, Literal

from pydantic import Field

from jaxgpt.nn.remat import Remat
from jaxgpt.ops.attention import Auto, Kernel
from jaxgpt.ops.sharding import platform
from jaxgpt.parallel import Mesh, Rules, Standard
from jaxgpt.runs.sinks import Sink
from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import INT32, Count, Layers, Length, Steps

UNROLLED = 48
"""Layers that a GPU's program unrolls though that compiles longer: GPT-2 1.5B's 48 took XLA 105 s on two cores, and 5 s
scanned, which minutes of training make up for."""


class Pipeline(Spec):
    """How rows move through the stages that `exec.mesh.pipeline` counts; nothing on a mesh without."""

    microbatches: Count | None = None
    """Parts that a batch goes through in; None: as many as divide its rows, up to four a stage."""
    repeats: Layers = 1
    """Groups of layers that a stage holds, far apart (Narayanan et al. 2021, interleaved stages): rows come round as
    often, and the bubble shrinks as often, for as many more permutes, and all weights moved once a step."""


class Exec(Spec):
    """Where and how a run is computed. Results agree to rounding whatever is chosen, but for dropout of attention
    weights: every kernel draws it tile by tile in its own way, `ring` and `gathered` device by device."""

    mesh: Mesh = Mesh()
    rules: Rules = Standard()
    kernel: Kernel = Auto()
    """What computes attention; `auto` picks for each pattern, and provenance.json says what."""
    layers: Literal["auto", "scan", "unroll"] = "auto"
    """The loop over layers: unrolling runs faster, scanning compiles faster. auto: scan from 16 layers on; never on a
    CPU; on a GPU that saves what a layer computes (`remat: none`), where a scan costs most, from 49 on."""
    remat: Remat = "none"
    """What the backward pass recomputes: `block` all but block inputs, `dots` all but matmul results, `stage` all but
    what enters a stage of the pipeline, and within it as `block`; `none` nothing, but in a scan over layers what
    neither a product, a reduction nor a kernel computed, which costs less than to save."""
    pipeline: Pipeline = Pipeline()
    """How rows move through the stages of exec.mesh.pipeline."""
    accumulate: Length = 1
    """Parts a batch is computed in, one after the other, to save memory. Refused for objectives that compare rows."""
    log_every: Steps = 10
    """Steps between rows of metrics.jsonl."""
    save_every: Steps | None = 1000
    """Steps between checkpoints; null: the last only."""
    keep: Steps = 2
    """How many of the newest checkpoints stay on disk."""
    keep_best: bool = True
    """Whether every step with the best val/loss so far (or what else `eval.metric` says) is saved too, and the best
    stays on disk."""
    max_skips: int = Field(default=5, ge=0, le=INT32)
    """Updates in a row that may be dropped for a NaN or infinite gradient before the run counts as diverged."""
    hang_seconds: Annotated[int, Field(gt=0, le=10**8)] | None = 7200
    """Where several processes train: how long none may move before all end. Longer than the longest compilation,
    validation and save; a process that dies or freezes is noticed in half a minute whatever is set here."""
    accept_data: bool = False
    """Whether a run that was stopped goes on though its corpus, tokenizer or scored pairs have changed since: with the
    tokenizer that it keeps, on the text as it is now. Holds for one call; events.jsonl tells of it."""
    compilation_cache: bool = True
    """Keeps compiled programs between processes, in the cache folder."""
    sinks: tuple[Sink, ...] = ()
    """Trackers that get every row of metrics besides metrics.jsonl."""

    def loop(self, num_layers: int) -> Literal["scan", "unroll"]:
        """`layers`, resolved for a model, or for what a stage of it holds, on the platform that is traced for."""
        if self.layers != "auto":
            return self.layers
        where = platform()
        longest = UNROLLED if where == "gpu" and self.remat == "none" else 15
        return "scan" if num_layers > longest and where != "cpu" else "unroll"
