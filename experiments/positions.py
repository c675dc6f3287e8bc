"""Which way of telling positions wins: learned, sinusoidal, rotary, ALiBi, or none at all?

    jaxgpt ablate experiments/positions.py

Thirty runs of a small GPT on the text of Python's own standard library: about 7 minutes on 2 cores.

Equal tokens, and no text longer than the context of training: what ALiBi was made for (Press et al. 2022) and
where learned positions end is not asked here. Learned: GPT-1, GPT-2, GPT-3. Sinusoidal: Vaswani et al. 2017, section
3.5; its sines have unit size beside token vectors that start at 0.02, which the original scaled up by √d_model.
Rotary: Su et al. 2021. None: Haviv et al. 2022, causal attention alone can count.
"""

from jaxgpt.lab import Experiment

experiment = Experiment(
    question="Which positions win at equal tokens: learned, sinusoidal, rotary, ALiBi, none?",
    base="configs/gpt2/demo.yaml",
    arms={kind: {"model.position": kind} for kind in ("learned", "sinusoidal", "rotary", "alibi", "none")},
    baseline="learned",
    seeds=6,
)
