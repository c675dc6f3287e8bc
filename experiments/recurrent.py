"""An LSTM or a GPT, at equal parameters and at equal FLOPs, on Shakespeare and on source code?

    JAXGPT_DATA=<folder with tinyshakespeare/> jaxgpt ablate experiments/recurrent.py

Bytes of tiny Shakespeare and of the Python standard library's source: 300 steps of 16 rows of 64, 0.22M parameters; 18
runs that choose each arm's learning rate, then 36 with six seeds, about 15 minutes on 2 cores as guessed. The LSTM
reads streams and carries its state, the GPT reads windows. Both are measured on the same 20,000 held-out tokens: the
LSTM in 16 streams, each in one pass, the GPT in windows that share none.
"""

from jaxgpt.lab import Experiment, Tune

GPT = {"kind": "gpt2", "num_layers": 4, "d_model": 64, "num_heads": 4, "context": 64, "vocab_size": None}
LSTM = {"kind": "recurrent", "cell": "lstm", "d_model": 64, "context": 64, "vocab_size": None}
MODELS = {
    "gpt": {"model": GPT},
    "lstm": {"model": LSTM | {"units": [110, 110]}, "data.streams": True},
    "lstm_flops": {"model": LSTM | {"units": [124, 124]}, "data.streams": True},
}
CORPORA = {"shakespeare": "tinyshakespeare", "code": "stdlib"}
BASE = {
    **MODELS["gpt"],
    "tokenizer": "byte",
    "data": {"corpus": "tinyshakespeare", "val_tokens": 20_000},
    "batch_size": 16,
    "steps": 300,
    "optim": {"kind": "adamw", "lr": 3e-3, "weight_decay": 0.01},
    "schedule": {"kind": "cosine", "warmup": 30, "final": 0.1},
}

experiment = Experiment(
    question="Does an LSTM or a GPT foresee text better, at equal parameters and at equal FLOPs?",
    base=BASE,
    arms={
        f"{corpus}-{model}": fields | {"data.corpus": name}
        for corpus, name in CORPORA.items()
        for model, fields in MODELS.items()
    },
    baseline="shakespeare-gpt",
    contrasts={
        f"{corpus}: {model} against gpt": {f"{corpus}-{model}": 1, f"{corpus}-gpt": -1}
        for corpus in CORPORA
        for model in ("lstm", "lstm_flops")
    },
    metric="val/loss",
    seeds=6,
    tune=Tune(lr=(1e-3, 3e-3, 1e-2), seeds=1),
)
