"""Which pooling makes the best vector of a sentence (Gao et al. 2021, table 6)?

    JAXGPT_DATA=<folder> jaxgpt train configs/bert/small_cpu.yaml --out runs/bert/s0
    JAXGPT_DATA=<folder> jaxgpt ablate experiments/pooling.py

Twenty-four runs from one small BERT, as in simcse_dropout.py: about 7 minutes on 2 cores. `cls` and
`cls_before_pooler` have SimCSE's projection, dense and tanh, which the latter uses in training only.
"""

from jaxgpt.lab import Experiment

SHORT = {"steps": 60, "start": "runs/bert/s0", "eval.every": 20}

experiment = Experiment(
    question="Which pooling makes the best vector of a sentence?",
    base="configs/simcse/small_cpu.yaml",
    arms={
        "mean": SHORT | {"model.text_head.pooling": "mean"},
        "cls": SHORT | {"model.text_head": {"kind": "contrastive", "pooling": "cls", "projection": "tanh"}},
        "cls_before_pooler": SHORT
        | {"model.text_head": {"kind": "contrastive", "pooling": "cls_before_pooler", "projection": "tanh"}},
        "first_last": SHORT | {"model.text_head.pooling": "first_last"},
    },
    baseline="mean",
    metric="val/sts",
    better="higher",
    seeds=6,
)
