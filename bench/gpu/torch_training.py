"""nanoGPT's step as its train.py makes it: torch.compile and fused AdamW on a GPU, eager without; autocast in bfloat16.

Started with `{name: arguments of NanoGPT}`, the rows of a batch and the optimiser. Answers `build NAME` with parameters
and the seconds of the first step, `block NAME COUNT` with seconds a step, `memory` with the most bytes it had.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from nanogpt import NanoGPT
from peer import serve
from torch_steps import update

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")


def synchronize() -> None:
    if CUDA:
        torch.cuda.synchronize()


def training(shape: dict[str, Any], rows: int, optim: dict[str, float]) -> tuple[int, Callable[[], None]]:
    """Parameters of a model, and a call that makes one update from a batch on the host."""
    model = NanoGPT(**shape).to(DEVICE).train()
    ids = torch.randint(0, shape["vocab_size"], (rows, shape["context"] + 1))
    host = [part.contiguous().pin_memory() if CUDA else part for part in (ids[:, :-1], ids[:, 1:])]
    run = torch.compile(model, dynamic=False) if CUDA else model

    def loss() -> torch.Tensor:
        tokens, targets = (part.to(DEVICE, non_blocking=True) for part in host)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            return run(tokens, targets)

    return sum(p.numel() for p in model.parameters()), update(loss, model, optim, fused=CUDA)


def main() -> None:
    shapes, rows, optim = map(json.loads, sys.argv[1:])
    torch.set_float32_matmul_precision("high")
    steps: dict[str, Callable[[], None]] = {}

    def block(name: str, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            steps[name]()
        synchronize()
        return (time.perf_counter() - start) / count

    def answer(word: str, name: str = "", count: int = 1) -> Any:
        if word == "build":
            size, steps[name] = training(shapes[name], rows, optim)
            return [size, block(name, 1)]
        return block(name, count) if word == "block" else torch.cuda.max_memory_allocated() if CUDA else 0

    serve(answer)


if __name__ == "__main__":
    main()
