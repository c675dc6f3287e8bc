"""The torch side of train_step.py, in a process of its own: neither library's threads and allocator meet the other's.

Answers `sizes` with the parameter counts, `hf N` and `nano N` with the seconds of each of N training steps.
"""

import json
import sys
from collections.abc import Callable

import torch
from harness import seconds
from nanogpt import NanoGPT
from peer import serve


def update(
    loss: Callable[[], torch.Tensor], model: torch.nn.Module, optim: dict[str, float], fused: bool = False
) -> Callable[[], None]:
    """One training step: AdamW without decay on vectors, gradients clipped by their norm."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": optim["weight_decay"]}, {"params": rest, "weight_decay": 0.0}]
    betas = optim["b1"], optim["b2"]
    optimizer = torch.optim.AdamW(groups, lr=optim["lr"], betas=betas, eps=optim["eps"], fused=fused or None)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), optim["clip"])
        optimizer.step()

    return step


def main() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

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

    def answer(word: str, count: int = 0) -> dict[str, int] | list[float]:
        return sizes if word == "sizes" else [seconds(steps[word]) for _ in range(count)]

    serve(answer)


if __name__ == "__main__":
    main()
