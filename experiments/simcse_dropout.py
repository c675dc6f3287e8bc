"""How much dropout makes a good positive, and what if both copies share one mask (Gao et al. 2021, table 3)?

    JAXGPT_DATA=<folder> jaxgpt train configs/bert/small_cpu.yaml --out runs/bert/s0
    JAXGPT_DATA=<folder> jaxgpt ablate experiments/simcse_dropout.py

Thirty runs of unsupervised SimCSE on the sentences of STS-B's training part, all from one small BERT, as the
paper's are from one: about 8 minutes on 2 cores after the BERT's 2. Scored by Spearman's correlation on
STS-B's dev part.

Without dropout, or with one mask, the two copies of a sentence are equal: the contrast still pushes others away.
"""

from jaxgpt.lab import Experiment

SHORT = {"steps": 60, "start": "runs/bert/s0", "eval.every": 20}

experiment = Experiment(
    question="Which dropout rate makes the best positives, and what if both copies share a mask?",
    base="configs/simcse/small_cpu.yaml",
    arms={
        "0.1": SHORT | {"model.dropout": 0.1},
        "0": SHORT | {"model.dropout": 0.0},
        "0.05": SHORT | {"model.dropout": 0.05},
        "0.2": SHORT | {"model.dropout": 0.2},
        "one_mask": SHORT | {"model.dropout": 0.1, "objective.same_mask": True},
    },
    baseline="0.1",
    metric="val/sts",
    better="higher",
    seeds=6,
)
