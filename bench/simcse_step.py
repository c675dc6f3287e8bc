"""One step of unsupervised SimCSE: ours against sentence-transformers' loss and model in torch, the same weights.

On a GPU BERT base, 512 sentences of up to 32 tokens, bfloat16 with float32 weights (torch: autocast, fused AdamW). On a
CPU MiniLM's shape, 64 sentences, float32. A step is two copies of each sentence under dropout, the loss over all of
them, gradients clipped at norm 1, AdamW; timed from a batch on the host to parameters that are ready, the two taking
turns. Correctness comes first: without dropout both must give one loss.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch wants some of the card too

import jax
import numpy as np
import torch
from harness import arguments, cpu, interleaved, seconds, write
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.interop.sentence_transformers.export import strip_head
from jaxgpt.models import BERT
from jaxgpt.parallel import keep_freed_memory
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import parse
from jaxgpt.text import WordPiece
from jaxgpt.train.program import hyper, program

LENGTH, RATE, NEAR = 32, 3e-5, 1e-4
VOCABULARY = 30522
GPU = jax.default_backend() == "gpu"


def setting() -> ObjectiveRun:
    size, rows = ("base_uncased", 512) if GPU else ("minilm_l6", 64)
    model = BERT(**BERT.sizes[size], dropout=0.1, pooler=False, masked_head=False, text_head={"kind": "contrastive"})
    tree = {
        "model": model.model_dump(mode="json"),
        "objective": {"kind": "info_nce", "temperature": 0.05},
        "data": {"columns": 1, "seq_len": LENGTH},
        "batch_size": rows,
        "optim": {"kind": "adamw", "lr": RATE, "weight_decay": 0, "clip": 1.0},
        "schedule": {"kind": "constant"},
        "tokenizer": "wordpiece",
        "steps": 1000,
        "dtype": "bfloat16" if GPU else "float32",
    }
    return parse(ObjectiveRun, tree)


class Ours:
    """The step that `jaxgpt train` makes."""

    def __init__(self, run: ObjectiveRun, batch: dict[str, np.ndarray]):
        self.run, self.host, self.key, self.values = run, batch, jax.random.key(1), hyper(run)
        self.compiled = program(run)
        self.state = self.compiled.init(jax.random.key(0), self.values)

    def step(self) -> None:
        batch = jax.device_put(self.host, self.compiled.batch_shardings(self.host))
        self.state, _ = self.compiled.step(self.state, batch, self.key, self.values)
        jax.block_until_ready(self.state)

    def plain_loss(self) -> float:
        model = self.run.model.evolve(dropout=0.0).build(dtype=self.run.dtype)
        return float(jax.jit(lambda p, b: self.run.objective.loss(model, p, b, None)[0])(self.state.params, self.host))


class Peer:
    """sentence-transformers."""

    def __init__(self, folder: Path, batch: dict[str, np.ndarray]):
        self.device = torch.device("cuda" if GPU else "cpu")
        self.model = SentenceTransformer(str(folder), device=str(self.device))
        self.loss = MultipleNegativesRankingLoss(self.model, scale=20.0)
        self.optim = torch.optim.AdamW(self.model.parameters(), lr=RATE, weight_decay=0, fused=GPU)
        self.host = {
            "input_ids": torch.from_numpy(batch["tokens"].astype(np.int64)),
            "attention_mask": torch.from_numpy(batch["segments"].astype(np.int64)),
        }

    def _forward(self) -> Any:
        given = {name: held.to(self.device) for name, held in self.host.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=GPU):
            return self.loss([dict(given), dict(given)], None)

    def step(self) -> None:
        self.model.train()
        self.optim.zero_grad(set_to_none=True)
        self._forward().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optim.step()
        if GPU:
            torch.cuda.synchronize()

    def plain_loss(self) -> float:
        self.model.eval()
        with torch.no_grad():
            return float(self._forward())


def batch_of(rows: int) -> dict[str, np.ndarray]:
    """Sentences of 4 to 32 random tokens."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, LENGTH + 1, rows)
    lengths[0] = LENGTH
    real = np.arange(LENGTH) < lengths[:, None]
    return {
        "tokens": (rng.integers(1000, VOCABULARY, real.shape) * real).astype(np.int32),
        "segments": real * np.int32(1),
    }


def main() -> None:
    options = arguments("sentences per second of a SimCSE step, ours and sentence-transformers'")
    keep_freed_memory()  # as `jaxgpt train` does
    run = setting()
    batch = batch_of(run.batch_size)
    ours = Ours(run, batch)
    codec = WordPiece(vocab_size=40).train(lambda: ["a folder of sentence-transformers has a vocabulary"])
    with tempfile.TemporaryDirectory() as held:
        model, params, recipe = strip_head(run.model, jax.tree.map(np.asarray, ours.state.params))
        write_folder(Path(held) / "out", model, params, codec, recipe=recipe)
        peer = Peer(Path(held) / "out", batch)
    losses = ours.plain_loss(), peer.plain_loss()
    near = 0.02 if GPU else NEAR  # bfloat16 has 8 bits
    if abs(losses[0] - losses[1]) > near:
        raise SystemExit(
            f"error: without dropout the losses are {losses[0]:.6f} and {losses[1]:.6f}; nothing was timed"
        )
    compiling = seconds(ours.step)
    took = interleaved({"ours": ours.step, "torch": peer.step}, 4 if options.quick else 20, warmup=2)
    per_second = {name: run.batch_size / times.median for name, times in took.items()}
    figures = {
        "loss": losses[0],
        "loss_difference": abs(losses[0] - losses[1]),
        "compile_seconds": compiling,
        "sentences_per_second": per_second["ours"],
        "torch_sentences_per_second": per_second["torch"],
        "speedup_vs_sentence_transformers": per_second["ours"] / per_second["torch"],
    }
    write(options, figures, jax.devices()[0].device_kind if GPU else cpu())


if __name__ == "__main__":
    main()
