"""Four little runs, of about ten seconds each, for the tests of engines."""

from pathlib import Path

from jaxgpt.lab import Experiment

experiment = Experiment(
    question="Is half the learning rate as good?",
    base={
        "model": {"kind": "gpt2", "num_layers": 1, "d_model": 16, "num_heads": 2, "context": 8},
        "tokenizer": "byte",
        "data": {"corpus": str(Path(__file__).parents[4] / "LICENSE"), "val_tokens": 64},
        "batch_size": 8,
        "steps": 2000,
        "optim": {"kind": "adamw", "lr": 1e-2, "eps": 1e-4},
        "exec": {"log_every": 10, "save_every": 50},
    },
    arms={"whole": {}, "half": {"optim.lr": 5e-3}},
    baseline="whole",
    seeds=2,
)
