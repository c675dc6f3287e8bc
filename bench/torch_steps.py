"""The torch side of train_step.py, in a process of its own: neither library's threads and allocator meet the other's.

Reads lines `hf N` or `nano N` and answers each with the seconds of N training steps as JSON. The first line it prints
holds the parameter counts.
"""

import json
import sys
import time
from collections.abc import Callable

import torch
from nanogpt import NanoGPT
from transformers import GPT2Config, GPT2LMHeadModel


def update(loss: Callable[[], torch.Tensor], model: torch.nn.Module, optim: dict[str, float]) -> Callable[[], None]:
    """One eager training step: AdamW without decay on vectors, gradients clipped at norm 1."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": optim["weight_decay"]}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=optim["lr"], betas=(optim["b1"], optim["b2"]), eps=optim["eps"])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), optim["clip"])
        optimizer.step()

    return step


def main() -> None:
    setting = json.loads(sys.argv[1])
    shape = {name: setting[name] for name in ("vocab_size", "context", "num_layers", "d_model", "num_heads")}
    ids = torch.randint(0, setting["vocab_size"], (setting["batch_size"], setting["context"] + 1))
    tokens, targets = ids[:, :-1], ids[:, 1:]
    config = GPT2Config(
        vocab_size=setting["vocab_size"],
        n_positions=setting["context"],
        n_embd=setting["d_model"],
        n_layer=setting["num_layers"],
        n_head=setting["num_heads"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    hf, nano = GPT2LMHeadModel(config).train(), NanoGPT(**shape).train()
    steps = {
        "hf": update(lambda: hf(tokens, labels=tokens, use_cache=False).loss, hf, setting["optim"]),
        "nano": update(lambda: nano(tokens, targets), nano, setting["optim"]),
    }
    sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in (("hf", hf), ("nano", nano))}
    print(json.dumps(sizes), flush=True)
    for line in sys.stdin:
        name, count = line.split()
        times = []
        for _ in range(int(count)):
            start = time.perf_counter()
            steps[name]()
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
