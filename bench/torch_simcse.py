"""The torch side of simcse_step.py: sentence-transformers' model and loss, on a GPU with autocast and fused AdamW.

Started with a folder of weights and the learning rate; the folder has batch.npz. Answers `loss` with that without
dropout, `block COUNT` with seconds a step.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer import serve
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")


def main() -> None:
    folder, rate, half = map(json.loads, sys.argv[1:])
    model = SentenceTransformer(str(Path(folder) / "out"), device=str(DEVICE))
    batch_loss = MultipleNegativesRankingLoss(model, scale=20.0)
    optim = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0, fused=CUDA)
    batch = np.load(Path(folder) / "batch.npz")
    host = {
        "input_ids": torch.from_numpy(batch["tokens"].astype(np.int64)),
        "attention_mask": torch.from_numpy(batch["segments"].astype(np.int64)),
    }

    def forward() -> Any:
        given = {name: value.to(DEVICE) for name, value in host.items()}
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=half):
            return batch_loss([dict(given), dict(given)], None)

    def loss() -> float:
        model.eval()
        with torch.no_grad():
            return float(forward())

    def block(count: int) -> float:
        model.train()
        start = time.perf_counter()
        for _ in range(count):
            optim.zero_grad(set_to_none=True)
            forward().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optim.step()
        if CUDA:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / count

    serve(lambda word, *given: {"loss": loss, "block": block}[word](*given))


if __name__ == "__main__":
    main()
