"""Which temperature suits InfoNCE, and does learning it help (Gao et al. 2021, appendix D; Radford et al. 2021)?

    JAXGPT_DATA=<folder> jaxgpt train configs/bert/small_cpu.yaml --out runs/bert/s0
    JAXGPT_DATA=<folder> jaxgpt ablate experiments/temperature.py

Twenty-four runs from one small BERT, as in simcse_dropout.py: about 7 minutes on 2 cores. The learned one
starts at 0.05.
"""

from jaxgpt.lab import Experiment

SHORT = {"steps": 60, "start": "runs/bert/s0", "eval.every": 20}

experiment = Experiment(
    question="Which temperature suits InfoNCE, and does learning it help?",
    base="configs/simcse/small_cpu.yaml",
    arms={
        "0.05": SHORT | {"objective.temperature": 0.05},
        "0.01": SHORT | {"objective.temperature": 0.01},
        "0.2": SHORT | {"objective.temperature": 0.2},
        "learned": SHORT | {"model.text_head.temperature": 0.05},
    },
    baseline="0.05",
    metric="val/sts",
    better="higher",
    seeds=6,
)
