"""One step of unsupervised SimCSE on a CPU: ours against sentence-transformers' loss and model in torch, same weights.

MiniLM's shape, 64 sentences of up to 32 tokens, float32. A step is two copies of each sentence under dropout, the loss
over all of them, gradients clipped at norm 1, AdamW; timed from a batch on the host to parameters that are ready, the
two taking turns. Correctness comes first: without dropout both must give one loss. bench/gpu.py has BERT base on a GPU.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
from harness import arguments, cpu, write
from our_step import OurStep
from peer import Peer, turns

from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.interop.sentence_transformers.export import strip_head
from jaxgpt.models import BERT
from jaxgpt.parallel import compute_inline, keep_freed_memory
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import parse
from jaxgpt.text import WordPiece

LENGTH, RATE, NEAR = 32, 3e-5, 1e-4
VOCABULARY = 30522


def setting(size: str, rows: int, dtype: str, **more: int) -> ObjectiveRun:
    """SimCSE on a BERT of a known size; `more`: fields of the model besides."""
    fields = BERT.sizes[size] | more
    model = BERT(**fields, dropout=0.1, pooler=False, masked_head=False, text_head={"kind": "contrastive"})
    tree = {
        "model": model.model_dump(mode="json"),
        "objective": {"kind": "info_nce", "temperature": 0.05},
        "data": {"columns": 1, "seq_len": LENGTH},
        "batch_size": rows,
        "optim": {"kind": "adamw", "lr": RATE, "weight_decay": 0, "clip": 1.0},
        "schedule": {"kind": "constant"},
        "tokenizer": "wordpiece",
        "steps": 1000,
        "dtype": dtype,
    }
    return parse(ObjectiveRun, tree)


def sentences(rows: int) -> dict[str, np.ndarray]:
    """A batch of sentences of 4 to 32 random tokens."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, LENGTH + 1, rows)
    lengths[0] = LENGTH
    real = np.arange(LENGTH) < lengths[:, None]
    return {
        "tokens": (rng.integers(1000, VOCABULARY, real.shape) * real).astype(np.int32),
        "segments": real * np.int32(1),
    }


def plain_loss(run: ObjectiveRun, step: OurStep, batch: dict[str, np.ndarray]) -> float:
    """Our loss without dropout."""
    model = run.model.evolve(dropout=0.0).build(dtype=run.dtype)
    return float(jax.jit(lambda p, b: run.objective.loss(model, p, b, None)[0])(step.state.params, batch))


@contextmanager
def peer_of(run: ObjectiveRun, step: OurStep, batch: dict[str, np.ndarray]) -> Iterator[Peer]:
    """sentence-transformers in a process of its own, with the same weights and batch."""
    codec = WordPiece(vocab_size=40).train(lambda: ["a folder of sentence-transformers has a vocabulary"])
    with tempfile.TemporaryDirectory() as folder:
        model, params, recipe = strip_head(run.model, jax.tree.map(np.asarray, step.state.params))
        write_folder(Path(folder) / "out", model, params, codec, recipe=recipe)
        np.savez(Path(folder) / "batch.npz", **batch)
        with Peer("torch_simcse.py", folder, RATE, run.dtype == "bfloat16") as peer:
            yield peer


def main() -> None:
    jax.config.update("jax_platforms", "cpu")
    options = arguments("sentences per second of a SimCSE step, ours and sentence-transformers'")
    compute_inline()  # as `jaxgpt train` does
    keep_freed_memory()
    run = setting("minilm_l6", 64, "float32")
    batch = sentences(run.batch_size)
    ours = OurStep(run, batch)
    with peer_of(run, ours, batch) as peer:
        losses = plain_loss(run, ours, batch), peer.ask("loss")
        if abs(losses[0] - losses[1]) > NEAR:
            raise SystemExit(
                f"error: without dropout the losses are {losses[0]:.6f} and {losses[1]:.6f}; nothing was timed"
            )
        calls = {"ours": lambda: ours.block(1), "torch": lambda: peer.ask("block", 1)}
        took = turns(calls, 4 if options.quick else 20, warmup=2)
    per_second = {name: run.batch_size / seconds for name, seconds in took.items()}
    figures = {
        "loss": losses[0],
        "loss_difference": abs(losses[0] - losses[1]),
        "compile_seconds": ours.compile_seconds,
        "sentences_per_second": per_second["ours"],
        "torch_sentences_per_second": per_second["torch"],
        "speedup_vs_sentence_transformers": per_second["ours"] / per_second["torch"],
    }
    write(options, figures, cpu())


if __name__ == "__main__":
    main()
