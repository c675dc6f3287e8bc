"""Does post-norm need a warm-up that pre-norm can do without (Xiong et al. 2020, sections 3 and 4)?

    jaxgpt ablate experiments/norm_place.py

Twenty-four runs of a small GPT on the text of Python's own standard library: about 5 minutes on 2 cores.

The claim is about what can be trained: near the output, gradients of a post-norm stack at its start are large. It is
derived for weights at Xavier's scale, so all weights here start at N(0, 1/d_model). That choice was made after a pilot
and decides the answer: at GPT's 0.02 and twice the learning rate one seed went the other way (val/loss post-norm 2.41
with a warm-up and 2.28 without, pre-norm 2.46 and 2.81). What is found here holds for Xavier's scale alone.

Eight layers; post-norm has no final norm, as in GPT-1. AdamW, gradients clipped at norm 1: a post-norm run without
warm-up may end high rather than diverge.
"""

from jaxgpt.lab import Experiment

STACK = {"model.num_layers": 8, "model.d_model": 64, "model.init_std": 0.125, "model.residual_init": "plain"}
PRE, POST = {"model.norm_place": "pre"}, {"model.norm_place": "post"}
WARM, COLD = {"schedule.warmup": 60}, {"schedule.warmup": 0}

experiment = Experiment(
    question="Does post-norm need a warm-up that pre-norm can do without?",
    base="configs/gpt2/demo.yaml",
    arms={
        "pre_warm": STACK | PRE | WARM,
        "pre_cold": STACK | PRE | COLD,
        "post_warm": STACK | POST | WARM,
        "post_cold": STACK | POST | COLD,
    },
    baseline="pre_warm",
    contrasts={
        "warm-up, post-norm": {"post_warm": 1, "post_cold": -1},
        "warm-up, pre-norm": {"pre_warm": 1, "pre_cold": -1},
        "warm-up, post- less pre-norm": {"post_warm": 1, "post_cold": -1, "pre_warm": -1, "pre_cold": 1},
    },
    seeds=6,
)
