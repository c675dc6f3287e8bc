"""Do characters or byte-level BPE (Radford et al. 2019, section 2.2) model text better, in bits per byte?

    jaxgpt ablate experiments/tokenizers.py

Thirty runs of a small GPT on the text of Python's own standard library: about 7 minutes on 2 cores.

The vocabularies train once before, 20 seconds each. Bytes stand for characters: 99.97% of this text is ASCII,
while the rest of its alphabet of 445 would be rows that hardly train, and `char` has no token that ends a document.

All arms but the last spend the FLOPs of 300 steps of `bytes`: text is plentiful here (no arm sees a fiftieth of it),
computing is not. BPE then reads more text, 2.1 bytes a token at 512 entries and 3.0 at 2048; that is its gain, and
`bpe_2048_same_text` takes it away: the text of `bytes`, at 0.44 of the FLOPs. A context of 64 tokens also spans three
times the bytes; `bytes_long` gives bytes that span, 192 tokens, at equal FLOPs. The token table grows with the
vocabulary: 474,912, 499,392 and 646,848 parameters. Every arm is scored on the same 32,768 bytes.
"""

from jaxgpt.lab import Experiment
from jaxgpt.text import Byte, ByteBPE

SCORED = {"data.val_tokens": None, "data.val_bytes": 32768, "eval.every": 50}
BPE_512, BPE_2048 = {"tokenizer": ByteBPE(vocab_size=512)}, {"tokenizer": ByteBPE(vocab_size=2048)}
BYTES = {"tokenizer": Byte()}
LONG = {"model.context": 192, "batch_size": 4}

experiment = Experiment(
    question="Do bytes or byte-level BPE model text better, in bits per byte at equal FLOPs?",
    base="configs/gpt2/demo.yaml",
    arms={
        "bytes": SCORED | BYTES,
        "bytes_long": SCORED | BYTES | LONG | {"steps": 252},
        "bpe_512": SCORED | BPE_512 | {"steps": 286},
        "bpe_2048": SCORED | BPE_2048 | {"steps": 225},
        "bpe_2048_same_text": SCORED | BPE_2048 | {"steps": 100, "schedule.warmup": 10},
    },
    baseline="bytes",
    seeds=6,
    metric="val/bpb",
)
