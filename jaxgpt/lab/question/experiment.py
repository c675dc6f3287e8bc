"""An Experiment: a question, a base run, and the arms that differ from it in named fields."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from jaxgpt.lab.question.ladder import Ladder
from jaxgpt.lab.question.settings import Lab
from jaxgpt.lab.question.tune import Tune
from jaxgpt.spec import Spec, canonical
from jaxgpt.spec.errors import did_you_mean, quote

Budget = Literal["tokens", "flops", "seconds"]
MOST_SEEDS = 10_000
"""Of an arm: a sweep is planned whole, and a mistyped number should not fill the memory."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class Experiment(Spec):
    """A question that a table with confidence intervals answers."""

    question: str = Field(min_length=1)
    """In words, as the report's title."""
    base: str | dict[str, Any]
    """The run that every arm starts from: a YAML file (looked up beside the experiment file, in its parent folders, in
    the working directory, and among the configs that come with jaxgpt) or a mapping of fields."""
    arms: dict[str, dict[str, Any]] = Field(min_length=2)
    """What each arm changes: its name to dotted overrides. An arm without overrides is the base itself."""
    baseline: str
    """The arm that the others are compared with."""
    seeds: int = Field(default=8, ge=1, le=MOST_SEEDS)
    """Runs of each arm. Seed i is the base's seed + i in every arm, so that runs pair. Claims need 6 or more."""
    metric: str = "val/loss"
    """The figure of result.json to compare."""
    better: Literal["lower", "higher"] = "lower"
    """Which direction of the metric is an improvement."""
    goal: float | None = None
    """A value of the metric; the report says of which arms the mean is shown to be better than it."""
    budget: tuple[Budget, ...] = ()
    """What arms are given equal amounts of: `tokens`, `flops`, `seconds`, or several, each with runs of its own. An arm
    gets the steps that spend what the baseline spends, so that its schedule ends there. Empty: as configured."""
    contrasts: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Planned comparisons by name: weights of arms that sum to 0, as `main_effects` gives. They are adjusted together
    by Holm, and every other arm against the baseline is exploration, with Benjamini and Hochberg's q. Empty: every arm
    against the baseline is planned."""
    tune: Tune | None = None
    """Learning rates to choose from for each arm, before the seeds that are reported."""
    ladder: Ladder | None = None
    """Arms that are sizes of one thing: the report fits a power law."""
    lab: Lab = Lab()
    """How the sweep is executed."""

    def __hash__(self) -> int:
        return hash(canonical(self))

    @field_validator("arms", mode="before")
    @classmethod
    def _plain(cls, arms: Any) -> Any:
        """Overrides may hold specs (`{"model.position": Rotary(theta=1e5)}`); they are stored as plain data."""
        if not isinstance(arms, dict):
            return arms
        return {name: _dump(overrides) for name, overrides in arms.items()}

    @field_validator("arms")
    @classmethod
    def _named(cls, arms: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, overrides in arms.items():
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"arm name {quote(name)} becomes a folder: use letters, digits, '_', '.', '+' and '-' only"
                )
            if "seed" in overrides:
                raise ValueError(
                    f"arm {quote(name)} sets 'seed': seeds are shared by all arms; set it in the base instead"
                )
        return arms

    @model_validator(mode="after")
    def _compared(self) -> "Experiment":
        problems = []
        named = {"baseline": [self.baseline]} | {f"contrasts.{name}": list(w) for name, w in self.contrasts.items()}
        named |= {
            f"ladder.rungs.{name}": list(arms) for name, arms in (self.ladder.rungs if self.ladder else {}).items()
        }
        for where, arms in named.items():
            problems += [
                f"{where}: {quote(a)} is not an arm{did_you_mean(a, self.arms)}" for a in arms if a not in self.arms
            ]
        for name, weights in self.contrasts.items():
            if abs(sum(weights.values())) > 1e-9 or not any(weights.values()):
                problems.append(f"contrasts.{name}: weights {list(weights.values())} must sum to 0 and not all be 0")
        for arm, overrides in self.arms.items():
            problems += [
                f"arms.{arm}: sets '{length}', which budget decides; leave one of them out"
                for length in ("steps", "epochs")
                if self.budget and length in overrides
            ]
            if self.tune and "optim.lr" in overrides:
                problems.append(f"arms.{arm}: sets 'optim.lr', which tune decides; leave one of them out")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _dump(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.model_dump(mode="json")
    return {key: _dump(item) for key, item in value.items()} if isinstance(value, dict) else value
