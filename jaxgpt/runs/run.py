"""Run: what is computed. Its digest is its identity. A seam: most runs are one loop over a loss, others have loops of
their own."""

import math
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from jaxgpt.disk import resolve
from jaxgpt.spec import Seam, stated
from jaxgpt.spec.arguments import instance

if TYPE_CHECKING:
    from jaxgpt.runs.exec import Exec

SCHEMA = 1
"""The meaning that defaults have; raised when one comes to mean another computation."""
FIELDS = ("steps", "seed", "exec")
Row = dict[str, Any]
"""Figures of one step, by name."""


class Cost(NamedTuple):
    """What a step of a run takes."""

    tokens: float
    flops: float
    """Forward and backward, counting the keys that attention really visits."""
    trained: float = math.nan
    """Parameters that it changes; NaN for a kind without parameters."""


class Run(Seam, seam="run", default="objective"):
    """Base of the kinds of runs. Every kind declares the fields `steps`, `seed` and `exec` (how it is computed: no part
    of its identity)."""

    if TYPE_CHECKING:
        steps: int
        seed: int
        exec: Exec

    one_program: ClassVar[bool] = False
    """Whether `train.program` makes the kind's step: such runs can be timed before they train, and trained together."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if not cls._is_open() and (lacking := [name for name in FIELDS if name not in cls.model_fields]):
            raise TypeError(f"run kind '{cls.kind}' declares no field {lacking[0]!r}")

    @abstractmethod
    def train(self, out: Path, quiet: bool = False, watch: Callable[[Row], None] | None = None) -> Row:
        """Trains in the folder `out`, goes on there where a run of the same identity has begun, and returns what
        `out/result.json` holds, whose `status` is finished, diverged or stopped. `watch` is called with every row of
        metrics. Raises ConfigError for bad fields, or when `out` holds another run."""

    @abstractmethod
    def signature(self) -> "Run":
        """The run that stands for all those with the same compiled programs: equal for runs that differ in their seed
        or in numbers that are inputs of the program."""

    @abstractmethod
    def cost(self) -> Cost:
        """What one step takes, the largest where they differ; the run must be `complete`."""

    @property
    def complete(self) -> bool:
        """Whether every size is known before the data (a vocabulary) are read."""
        return True

    @property
    def even(self) -> bool:
        """Whether every step costs the same."""
        return True

    @property
    def computes_in(self) -> str:
        """The dtype of most of its arithmetic, by which its speed is guessed before it was measured."""
        return "float32"

    def completed(self) -> Self:
        """The run with the sizes that its data decide, which it reads where it is not `complete`."""
        return self

    def sized(self) -> Self:
        """The run with its number of steps, for which it reads its data where these decide it."""
        return self

    def shared_steps(self, steps: int) -> int:
        """How many first steps this run has in common with one that is planned for `steps` and else equal."""
        return 0

    def remarks(self) -> list[str]:
        """What can be trained but is hardly meant, a line each."""
        return []

    def settings(self) -> dict[str, Any]:
        """Every field that decides the result: all but `exec`."""
        return self.model_dump(mode="json", exclude={"exec"})

    def identity(self) -> dict[str, Any]:
        """The settings that are not at their default, and the schema by which defaults are read: a field that a newer
        version adds makes no run another one."""
        return {"schema": SCHEMA} | stated(self, leave_out=["exec"])

    def without_consent(self) -> Self:
        """The run as its config.yaml keeps it: a consent to changed data (`exec.accept_data`) is for once."""
        return self.evolve(exec=self.exec.evolve(accept_data=False))


def run(spec: Run, out: str | Path, quiet: bool = False, watch: Callable[[Row], None] | None = None) -> Row:
    """What `jaxgpt train` does: trains `spec` in the folder `out` and returns what `out/result.json` holds.

    Goes on by itself when `out` holds the same run unfinished, and returns at once when it is finished; see
    `Run.train`. Raises ConfigError for bad fields or when `out` holds another run.
    """
    instance("spec", spec, "a Run, as of load_yaml(Run, 'config.yaml')", Run)
    return spec.train(resolve(out), quiet, watch)
