"""What do pre-training and the auxiliary language model do for CoLA (Radford et al. 2018, table 5, in small)?

    JAXGPT_DATA=<folder> jaxgpt train configs/gpt1/small_cpu.yaml --out runs/gpt1/s0
    JAXGPT_DATA=<folder> jaxgpt ablate experiments/gpt1_cola.py

Twenty-four runs: about 14 minutes on 2 cores after the small GPT-1's 5. Two epochs of 8,551 sentences in each, in
GPT-1's arrangement, scored by Matthews' correlation on both development parts. All arms have the size of the small
GPT-1 and read by its vocabulary; those from scratch have none of its weights.
"""

from jaxgpt.lab import Experiment, factorial, interaction, main_effects

FACTORS = {
    "start": {"scratch": {"start": None}, "pretrained": {}},
    "lm": {"task": {"objective.lm_weight": 0.0}, "task_lm": {}},
}

experiment = Experiment(
    question="What do pre-training and the auxiliary language model do for a small GPT-1 on CoLA?",
    base="configs/gpt1/cola_cpu.yaml",
    arms=factorial(FACTORS),
    baseline="scratch+task",
    contrasts=main_effects(FACTORS) | interaction(FACTORS),
    metric="val/matthews",
    better="higher",
    seeds=6,
)
