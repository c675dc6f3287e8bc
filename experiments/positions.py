"""Which way of telling positions wins: learned, sinusoidal, rotary, ALiBi, or none at all?

    jaxgpt ablate experiments/positions.py

Thirty-six runs of a small GPT on the text of Python's own standard library: about 12 minutes on 2 cores.

Equal tokens, and no text longer than the context of training: what ALiBi was made for (Press et al. 2022) and
where learned positions end is not asked here. Learned: GPT-1, GPT-2, GPT-3. Sinusoidal: Vaswani et al. 2017, section
3.5; its sines have unit size beside token vectors that start at 0.02, which the original scaled up by √d_model, so
`sinusoidal_small` has the same sines at the size of the token vectors.
Rotary: Su et al. 2021. None: Haviv et al. 2022, causal attention alone can count.
"""

import numpy as np

from jaxgpt.lab import Experiment
from jaxgpt.ops.positions import Added, Sinusoidal


class SinusoidalSmall(Added):
    """Sinusoids with the root mean square of fresh token vectors."""

    rms: float = 0.02

    def table(self, length: int, d_model: int) -> np.ndarray:
        """(length, d_model)."""
        return self.rms * np.sqrt(2, dtype=np.float32) * Sinusoidal().table(length, d_model)


ARMS = ("learned", "sinusoidal", "sinusoidal_small", "rotary", "alibi", "none")

experiment = Experiment(
    question="Which positions win at equal tokens: learned, sinusoidal, rotary, ALiBi, none?",
    base="configs/gpt2/demo.yaml",
    arms={kind: {"model.position": kind} for kind in ARMS},
    baseline="learned",
    seeds=6,
)
