"""Does GELU (Hendrycks & Gimpel 2016; GPT-1, GPT-2, GPT-3) beat ReLU (Vaswani et al. 2017), and SwiGLU both?

    jaxgpt ablate experiments/activation.py

Twenty-four runs of a small GPT on the text of Python's own standard library: about 7 minutes on 2 cores.

Equal tokens. SwiGLU (Shazeer 2020) has three matrices of inner width 8/3·d_model where the others have two of
4·d_model, so parameters and FLOPs are equal too. One learning rate serves all arms: it was chosen for GELU.
"""

from jaxgpt.lab import Experiment
from jaxgpt.nn.feed_forward import MLP, Gated
from jaxgpt.ops.activations import GELUTanh, ReLU, SiLU

experiment = Experiment(
    question="Does GELU beat ReLU, and SwiGLU both, at equal parameters and tokens?",
    base="configs/gpt2/demo.yaml",
    arms={
        "gelu": {"model.feed_forward": MLP(activation=GELUTanh())},
        "relu": {"model.feed_forward": MLP(activation=ReLU())},
        "swiglu": {"model.feed_forward": Gated(activation=SiLU())},
    },
    baseline="gelu",
    seeds=8,
)
