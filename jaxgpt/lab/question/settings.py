"""How a sweep is executed. Recorded with it, and no part of any run's identity."""

from typing import Literal

from pydantic import Field

from jaxgpt.lab.workers.engines import Engine, Here
from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import Count


class Lab(Spec):
    """The `lab` block of an experiment; `lab.fuse=off` on the command line."""

    engine: Engine = Here()
    """What starts the workers."""
    fuse: Literal["auto", "on", "off"] = "auto"
    """Whether runs that differ in seed and inputs only train as one program. `auto` times some steps both ways, once a
    sweep, and keeps to what it chose: fused and solo runs agree to rounding only, and are never paired."""
    lanes: Count | None = None
    """Runs in one program. None: one a device on a CPU, the whole group on an accelerator; fewer where an engine has
    workers for more programs."""
    claim_seconds: float = Field(default=60.0, gt=0, le=1e8)
    """Silence after which a worker on another machine counts as dead, and its runs are free."""
    strict: bool = False
    """Whether runs made by different code, libraries or devices are an error; else they are a remark in the report."""
