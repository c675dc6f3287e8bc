"""Which temperature suits InfoNCE, and does learning it help (Gao et al. 2021, appendix D; Radford et al. 2021)?

    JAXGPT_DATA=<folder with stsb_en/> jaxgpt ablate experiments/temperature.py

Twenty-four runs of a small BERT, as in simcse_dropout.py: about 18 minutes on 2 cores, by `lab plan`. The learned one
starts at 0.05.
"""

from jaxgpt.lab import Experiment

SHORT = {"steps": 60}

experiment = Experiment(
    question="Which temperature suits InfoNCE, and does learning it help?",
    base="configs/simcse/demo.yaml",
    arms={
        "0.05": SHORT | {"objective.temperature": 0.05},
        "0.01": SHORT | {"objective.temperature": 0.01},
        "0.2": SHORT | {"objective.temperature": 0.2},
        "learned": SHORT | {"model.head.temperature": 0.05},
    },
    baseline="0.05",
    metric="val/sts",
    better="higher",
    seeds=6,
)
