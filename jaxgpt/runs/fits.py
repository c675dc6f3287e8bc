"""Whether a run fits the devices that it is to be spread over."""

from jaxgpt.runs.divisibility import check_divides
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.pipeline import check_pipeline
from jaxgpt.spec import ConfigError


def check_devices(run: ObjectiveRun, devices: int) -> None:
    """Raises ConfigError when the run does not divide over the mesh. Called before anything is compiled."""
    shape = run.exec.mesh.shape(devices)
    check_divides(run, shape)
    if run.model.room < run.model.context and shape["sequence"] > 1:
        raise ConfigError(
            f"exec.mesh.sequence: {shape['sequence']}; model.adapter puts virtual tokens in front of whole rows; split "
            "over data, fsdp or tensor"
        )
    if run.model.sequential and shape["sequence"] > 1:
        raise ConfigError(
            f"exec.mesh.sequence: {shape['sequence']}; model {run.model.kind} reads tokens one after another; split "
            "over data, fsdp or tensor"
        )
    for axis in ("sequence", "pipeline") if run.objective.texts else ():
        if shape[axis] > 1:
            raise ConfigError(
                f"exec.mesh.{axis}: {shape[axis]}; objective {run.objective.kind} draws dropout for whole rows; "
                "split over data, fsdp or tensor"
            )
    check_pipeline(run, shape)
