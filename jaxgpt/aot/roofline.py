"""A step's time, predicted from what it computes, moves and sends. No term is measured: a bound, not a forecast."""

from typing import Any, NamedTuple

from jaxgpt.nn.pipeline import bubble
from jaxgpt.parallel.chips import Slice
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.pipeline import pipelined

RECOMPUTED = {"none": 0, "dots": 0, "block": 1, "stage": 2}
"""How often remat computes the forward pass again; `dots` repeats nothing that a matrix unit does."""


class Prediction(NamedTuple):
    """Seconds of one step, by what would take them if it were alone."""

    compute: float
    """FLOPs at the chip's peak, what is recomputed and the bubble of a pipeline included."""
    memory: float
    """Bytes between the chip and its memory at its bandwidth."""
    network: float
    """Collectives, one after another."""
    ideal: float
    """What the model's own FLOPs (no recomputation, no idle stages) take at the peak."""
    dense: float
    """The same with attention counted as if every key were seen, as training logs `mfu`."""

    @property
    def binds(self) -> str:
        """The resource that takes longest, and so bounds the step."""
        return max(("compute", "memory", "network"), key=lambda name: getattr(self, name))

    @property
    def step(self) -> float:
        """If all three overlap perfectly: no step is faster."""
        return max(self.compute, self.memory, self.network)

    @property
    def apart(self) -> float:
        """If the network waits for the chip, and the chip for the network."""
        return max(self.compute, self.memory) + self.network

    def figures(self) -> dict[str, Any]:
        """The estimate as a mapping of plain numbers."""
        return {
            "compute_seconds": self.compute,
            "memory_seconds": self.memory,
            "network_seconds": self.network,
            "step_seconds": self.step,
            "step_seconds_apart": self.apart,
            "mfu": self.ideal / self.step,
            "mfu_apart": self.ideal / self.apart,
            "mfu_dense": self.dense / self.step,
            "binds": self.binds,
        }


def predict(run: ObjectiveRun, topology: Slice, facts: dict[str, Any]) -> Prediction:
    """Predicts from the model's own FLOPs and the compiler's bytes, as `child_process.facts` gives them."""
    tokens, rate = run.batch_size * run.row_tokens, topology.chips * topology.chip.flops
    how = pipelined(run, run.exec.mesh.shape(topology.chips))
    busy = 1 - bubble(how.stages, how.microbatches, how.repeats) if how else 1.0
    ideal = tokens * facts["flops_per_token_true"] / rate
    return Prediction(
        compute=ideal * (1 + RECOMPUTED[run.exec.remat] * run.forward_share) / busy,
        memory=facts["traffic_bytes"] / topology.chip.bandwidth,
        network=sum(kind["seconds"] for kind in facts["collectives"].values()),
        ideal=ideal,
        dense=tokens * facts["flops_per_token"] / rate,
    )
