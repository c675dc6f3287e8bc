"""A colour for each arm, the same in every picture and table of a report."""

from jaxgpt.lab.question.experiment import Experiment
from jaxgpt.plots.palette import colours, of_series


def of_arms(experiment: Experiment) -> dict[str, str]:
    """A colour for each arm of an experiment: on a ladder its series'."""
    arms = colours(list(experiment.arms), experiment.baseline)
    rungs = experiment.ladder.rungs if experiment.ladder else {}
    series = of_series(list(rungs))
    return arms | {arm: series[name] for name, members in rungs.items() for arm in members}
