"""Do rotary positions (Su et al. 2021, RoFormer) beat learned ones (GPT-1, GPT-2) at equal tokens?

    jaxgpt ablate experiments/position.py

Twelve runs of a small GPT on the text of Python's own standard library: under 5 minutes on 2 cores.
"""

from jaxgpt.lab import Experiment

experiment = Experiment(
    question="Do rotary positions beat learned ones at equal tokens?",
    base="configs/gpt2/demo.yaml",
    arms={
        "learned": {"model.position": "learned"},
        "rotary": {"model.position": "rotary"},
    },
    baseline="learned",
    seeds=6,
)
