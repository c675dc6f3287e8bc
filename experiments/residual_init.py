"""Does it help to start residual projections smaller by √(2·layers), as GPT-2 does (Radford et al. 2019, section 2.3)?

    jaxgpt ablate experiments/residual_init.py

Twelve runs of a small GPT on the text of Python's own standard library: about 3 minutes on 2 cores.

Twelve narrow layers: the deeper the stack, the more its stream grows at the start without the scaling. The paper
gives the rule without an ablation. Equal tokens.
"""

from jaxgpt.lab import Experiment

DEEP = {"model.num_layers": 12, "model.d_model": 48}

experiment = Experiment(
    question="Does GPT-2's smaller start of residual projections help a stack of 12 layers?",
    base="configs/gpt2/demo.yaml",
    arms={
        "scaled": DEEP | {"model.residual_init": "depth_scaled"},
        "plain": DEEP | {"model.residual_init": "plain"},
    },
    baseline="scaled",
    seeds=6,
)
