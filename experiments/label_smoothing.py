"""Does label smoothing cost a language model likelihood, as it did in translation (Vaswani et al. 2017, section 5.4)?

    jaxgpt ablate experiments/label_smoothing.py

Eighteen runs of a small GPT on the text of Python's own standard library: about 5 minutes on 2 cores.

Equal tokens. The paper smooths by 0.1 and reports that perplexity suffers while BLEU gains. Here only the first
half can be asked: smoothing acts in training alone, and the loss reported is always the plain one.
"""

from jaxgpt.lab import Experiment
from jaxgpt.objectives import LanguageModel

experiment = Experiment(
    question="What does label smoothing cost in plain loss?",
    base="configs/gpt2/demo.yaml",
    arms={
        "none": {"objective": LanguageModel(label_smoothing=0.0)},
        "smooth_0.05": {"objective": LanguageModel(label_smoothing=0.05)},
        "smooth_0.1": {"objective": LanguageModel(label_smoothing=0.1)},
    },
    baseline="none",
    seeds=6,
)
