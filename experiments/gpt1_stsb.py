"""What do pre-training and the auxiliary language model do for STS-B (Radford et al. 2018, table 5, in small)?

    JAXGPT_DATA=<folder> jaxgpt train configs/gpt1/small_cpu.yaml --out runs/gpt1/s0
    JAXGPT_DATA=<folder> jaxgpt ablate experiments/gpt1_stsb.py

Twenty-four runs: about 26 minutes on 2 cores after the small GPT-1's 5. One epoch of 5,749 pairs in each, in both
orders as GPT-1 arranges them, scored by Pearson's correlation on the development part. All arms have the size of the
small GPT-1 and read by its vocabulary; those from scratch have none of its weights.
"""

from jaxgpt.lab import Experiment, factorial, interaction, main_effects

FACTORS = {
    "start": {"scratch": {"start": None}, "pretrained": {}},
    "lm": {"task": {"objective.lm_weight": 0.0}, "task_lm": {}},
}

experiment = Experiment(
    question="What do pre-training and the auxiliary language model do for a small GPT-1 on STS-B?",
    base="configs/gpt1/stsb_cpu.yaml",
    arms=factorial(FACTORS),
    baseline="scratch+task",
    contrasts=main_effects(FACTORS) | interaction(FACTORS),
    metric="val/pearson",
    better="higher",
    seeds=6,
)
