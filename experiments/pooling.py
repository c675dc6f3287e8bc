"""Which pooling makes the best vector of a sentence (Gao et al. 2021, table 6)?

    JAXGPT_DATA=<folder with stsb_en/> jaxgpt ablate experiments/pooling.py

Twenty-four runs of a small BERT, as in simcse_dropout.py: about 15 minutes on 2 cores, by `lab plan`. `cls` and
`cls_before_pooler` have SimCSE's projection, dense and tanh, which the latter uses in training only.
"""

from jaxgpt.lab import Experiment

SHORT = {"steps": 60}

experiment = Experiment(
    question="Which pooling makes the best vector of a sentence?",
    base="configs/simcse/demo.yaml",
    arms={
        "mean": SHORT | {"model.head.pooling": "mean"},
        "cls": SHORT | {"model.head": {"kind": "contrastive", "pooling": "cls", "projection": "tanh"}},
        "cls_before_pooler": SHORT
        | {"model.head": {"kind": "contrastive", "pooling": "cls_before_pooler", "projection": "tanh"}},
        "first_last": SHORT | {"model.head.pooling": "first_last"},
    },
    baseline="mean",
    metric="val/sts",
    better="higher",
    seeds=6,
)
