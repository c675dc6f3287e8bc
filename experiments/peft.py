"""What do the ways to train a small part of a model cost in accuracy on SST-2, each at a learning rate of its own?

    JAXGPT_DATA=<folder> jaxgpt ablate experiments/peft.py start=<folder of MiniLM> tokenizer.path=<the same>

all-MiniLM-L6-v2 for 120 steps of 16 sentences: 35 runs that choose each arm's learning rate, then 42 with six seeds,
about 50 minutes on 2 cores. Scored by accuracy on the development part.

Everything but `full` keeps the base frozen and trains its own parameters and the classifier. `qlora` stores the
projections in 4 bits and puts LoRA on all of them, where `lora` has the queries and values.
"""

from jaxgpt.lab import Experiment, Tune

SHORT = {"steps": 120, "batch_size": 16, "data.seq_len": 32, "schedule.warmup": 12}
EVERYWHERE = {"kind": "lora", "targets": ["(attention|feed_forward)/"], "rank": 8, "alpha": 16}

experiment = Experiment(
    question="What do the ways to train a small part of MiniLM cost in accuracy on SST-2?",
    base="configs/bert/sst2_minilm.yaml",
    arms={
        "full": SHORT,
        "bitfit": SHORT | {"trainable": ["bias$", "^text_head/"]},
        "adapter": SHORT | {"model.adapter": {"kind": "adapter", "width": 32}},
        "prefix": SHORT | {"model.adapter": {"kind": "prefix", "tokens": 10, "init_std": 0.1}},
        "prompt": SHORT | {"model.adapter": {"kind": "prompt", "tokens": 10, "init": "words"}},
        "lora": SHORT | {"model.adapter": {"kind": "lora", "rank": 8, "alpha": 16}},
        "qlora": SHORT | {"model.adapter": EVERYWHERE, "storage": "nf4"},
    },
    baseline="full",
    metric="val/accuracy",
    better="higher",
    seeds=6,
    tune=Tune(lr=(1e-4, 5e-4, 2e-3, 1e-2, 5e-2), seeds=1),
)
