"""The lab. A question becomes a plan of runs, and the runs become a table with an error bar.

One training is a *run*. It has other names where it is seen from elsewhere: in a plan it is a *cell*, an arm's spec
with one seed and a folder for its files; a worker claims a *unit*, one cell or several that train as one program; in
such a program it is a *lane*; and for the report it is an *outcome*, how it ended and with what figures. A *budget* is
what arms spend equal amounts of, a *stage* is tuning or the report, and a *mode* is how runs are computed, solo or
fused.

Importing this room costs nothing heavy: an experiment file that says `from jaxgpt.lab import Experiment` loads no jax,
no matplotlib and no scipy.
"""

from jaxgpt.lab.analysis.findings import Findings, analyse
from jaxgpt.lab.commands.ablate import ablate
from jaxgpt.lab.question.arms import factorial, hold_one_out, interaction, main_effects, one_at_a_time
from jaxgpt.lab.question.experiment import Experiment
from jaxgpt.lab.question.file import load
from jaxgpt.lab.question.ladder import Ladder, ladder_arms
from jaxgpt.lab.question.settings import Lab
from jaxgpt.lab.question.tune import Tune
from jaxgpt.lab.sweep.plan import Cell, Plan, plan
from jaxgpt.lab.workers.execute import execute

__all__ = [
    "Cell",
    "Experiment",
    "Findings",
    "Lab",
    "Ladder",
    "Plan",
    "Tune",
    "ablate",
    "analyse",
    "execute",
    "factorial",
    "hold_one_out",
    "interaction",
    "ladder_arms",
    "load",
    "main_effects",
    "one_at_a_time",
    "plan",
]
