"""What do pre-training and the auxiliary language model do for SST-2 (Radford et al. 2018, table 5, in small)?

    JAXGPT_DATA=<folder> jaxgpt train configs/gpt1/small_cpu.yaml --out runs/gpt1/s0
    JAXGPT_DATA=<folder> jaxgpt ablate experiments/gpt1_sst2.py

Twenty-four runs: about 20 minutes on 2 cores after the small GPT-1's 5. Two epochs of 6,920 sentences in each, in
GPT-1's arrangement, scored by accuracy on the development part. All arms have the size of the small GPT-1 and read by
its vocabulary; those from scratch have none of its weights.
"""

from jaxgpt.lab import Experiment, factorial, interaction, main_effects

FACTORS = {
    "start": {"scratch": {"start": None}, "pretrained": {}},
    "lm": {"task": {"objective.lm_weight": 0.0}, "task_lm": {}},
}

experiment = Experiment(
    question="What do pre-training and the auxiliary language model do for a small GPT-1 on SST-2?",
    base="configs/gpt1/sst2_cpu.yaml",
    arms=factorial(FACTORS),
    baseline="scratch+task",
    contrasts=main_effects(FACTORS) | interaction(FACTORS),
    metric="val/accuracy",
    better="higher",
    seeds=6,
)
