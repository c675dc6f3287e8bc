"""F7: the lab. A question becomes a plan of runs, and the runs become a table with an error bar.

Importing this room costs nothing heavy: an experiment file that says `from jaxgpt.lab import Experiment` loads no jax,
no matplotlib and no scipy.
"""

from jaxgpt.lab.ablate import ablate
from jaxgpt.lab.execute import execute
from jaxgpt.lab.experiment import Experiment
from jaxgpt.lab.findings import Findings, analyse
from jaxgpt.lab.load import load
from jaxgpt.lab.plan import Cell, Plan, plan

__all__ = ["Cell", "Experiment", "Findings", "Plan", "ablate", "analyse", "execute", "load", "plan"]
