"""How much dropout makes a good positive, and what if both copies share one mask (Gao et al. 2021, table 3)?

    JAXGPT_DATA=<folder with stsb_en/> jaxgpt ablate experiments/simcse_dropout.py

Thirty runs of a small BERT trained by unsupervised SimCSE with the auxiliary masked language model, on the sentences of
STS-B's training part: about 37 minutes on 2 cores, by `lab plan`. Scored by Spearman's correlation on STS-B's dev part.

The paper starts from BERT base; here all is from scratch, so that the question is about the positives alone. Without
dropout, or with one mask, the two copies of a sentence are equal: the contrast still pushes other sentences away.
"""

from jaxgpt.lab import Experiment

SHORT = {"steps": 60}

experiment = Experiment(
    question="Which dropout rate makes the best positives, and what if both copies share a mask?",
    base="configs/simcse/demo.yaml",
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
