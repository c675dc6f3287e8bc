"""F7: the lab. A question becomes a plan of runs, and the runs become a table with an error bar.

Importing this room costs nothing heavy: an experiment file that says `from jaxgpt.lab import Experiment` loads no jax,
no matplotlib and no scipy.
"""

from jaxgpt.lab.ablate import ablate
from jaxgpt.lab.arms import factorial, hold_one_out, interaction, main_effects, one_at_a_time
from jaxgpt.lab.execute import execute
from jaxgpt.lab.experiment import Experiment
from jaxgpt.lab.findings import Findings, analyse
from jaxgpt.lab.ladder import Ladder, ladder_arms
from jaxgpt.lab.load import load
from jaxgpt.lab.plan import Cell, Plan, plan
from jaxgpt.lab.settings import Lab
from jaxgpt.lab.tune import Tune

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
