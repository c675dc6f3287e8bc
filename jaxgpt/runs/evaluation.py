"""The `eval:` block of a run: when it is measured on what is held out, and by what it is judged."""

from typing import Annotated

from pydantic import Field

from jaxgpt.evals import EvalTask
from jaxgpt.objectives import Objective
from jaxgpt.spec import Spec
from jaxgpt.spec.errors import did_you_mean, quote
from jaxgpt.spec.sizes import Length, Steps

STS = "sts"
"""What `eval.sts` measures and judges by."""


class Evaluation(Spec):
    """When validation runs, and what it decides."""

    every: Steps | None = None
    """Steps between passes over the held-out tokens; None: at the end only."""
    batch_size: Length | None = None
    """Rows at once; None: as in training."""
    metric: Annotated[str, Field(max_length=100)] | None = None
    """By which figure of a pass the best checkpoint is chosen, without `val/`: `loss`, a metric of the objective such
    as `accuracy`, or `sts`. None: `sts` where it is measured, else the objective's own, of a task no loss."""
    patience: Steps | None = None
    """Passes without a better figure of that name before the run stops early; None: never."""
    sts: str | None = None
    """A file or folder of scored pairs, here or in JAXGPT_DATA: every pass measures `val/sts` too, how well cosines
    order them (Spearman times 100)."""
    tasks: tuple[EvalTask, ...] = ()
    """What else it is asked at every pass, in words, of its vectors or of its head: figures `val/TASK/...`, without
    intervals."""

    def judge(self, objective: Objective) -> str:
        """The figure by which checkpoints are judged, `val/loss` say."""
        return f"val/{self.metric or (objective.metric if self.sts is None else STS)}"

    def problems(self, objective: Objective, outputs: int, holds_out: bool) -> list[str]:
        """Why a run cannot be measured so, a line each; `outputs`: of its text head."""
        problems = []
        names = [task.title for task in self.tasks]
        if len({*names}) < len(names):
            problems.append(f"eval.tasks are called {', '.join(names)}; give each a name of its own")
        known = ["loss", *objective.measures(outputs), *([] if self.sts is None else [STS])]
        if self.metric is not None and self.metric not in known:
            hint = did_you_mean(self.metric, known)
            problems.append(f"eval.metric {quote(self.metric)} is not measured of objective {objective.kind}{hint}")
        if self.patience and not self.every:
            problems.append("eval.patience needs eval.every; set both or neither")
        figure = self.judge(objective)
        if (self.patience or self.metric is not None) and not holds_out and figure != f"val/{STS}":
            field = f"patience {self.patience}" if self.patience else f"metric '{self.metric}'"
            problems.append(
                f"eval.{field} waits for a better {figure}, but nothing is held out; set data.val_fraction or "
                "data.val_corpus, or leave it out"
            )
        return problems
