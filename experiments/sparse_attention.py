"""What do the sparse patterns of Child et al. 2019 and GPT-3 cost in loss, at equal tokens?

    jaxgpt ablate experiments/sparse_attention.py

Thirty runs of a small GPT on the text of Python's own standard library, context 256: about 20 minutes on 2 cores. The
paper has strided attention for data with a period and fixed attention for text; stride 16 is √256, as it proposes.
Keys that a query sees on average: dense 128.5, banded 30, strided 23, fixed 23, alternating 79.
"""

from jaxgpt.lab import Experiment
from jaxgpt.ops.patterns import Banded, Causal, Fixed, Strided

experiment = Experiment(
    question="What do banded, strided, fixed and alternating attention cost against dense, at equal tokens?",
    base="configs/gpt3/demo.yaml",
    arms={
        "dense": {"model.pattern": [Causal()]},
        "banded": {"model.pattern": [Banded(window=32)]},
        "strided": {"model.pattern": [Strided(stride=16)]},
        "fixed": {"model.pattern": [Fixed(stride=16, summary=2)]},
        "alternating": {"model.pattern": [Causal(), Banded(window=32)]},
    },
    baseline="dense",
    seeds=6,
)
