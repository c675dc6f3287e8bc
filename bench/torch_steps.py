"""The torch side of train_step.py, in a process of its own: neither library's threads and allocator meet the other's.

Is given settings by name. Answers `sizes` with the parameter counts, `NAME N` with the seconds of each of N training
steps of that setting.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from harness import seconds
from nanogpt import NanoGPT
from peer import serve

SHAPE = ("vocab_size", "context", "num_layers", "d_model", "num_heads")


def adamw(model: torch.nn.Module, optim: dict[str, float], fused: bool = False) -> torch.optim.Optimizer:
    """AdamW of what is trainable, without decay on vectors."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trainable if p.dim() > 1]
    rest = [p for p in trainable if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": optim["weight_decay"]}, {"params": rest, "weight_decay": 0.0}]
    betas = optim["b1"], optim["b2"]
    return torch.optim.AdamW(groups, lr=optim["lr"], betas=betas, eps=optim["eps"], fused=fused or None)


def update(
    loss: Callable[[], torch.Tensor], model: torch.nn.Module, optim: dict[str, float], fused: bool = False
) -> Callable[[], None]:
    """One training step: AdamW, gradients clipped by their norm."""
    optimizer = adamw(model, optim, fused)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), optim["clip"])
        optimizer.step()

    return step


def setup(setting: dict[str, Any]) -> tuple[Callable[[], None], int]:
    """A call that makes one update of a setting's model on random ids, and the model's number of parameters."""
    ids = torch.randint(0, setting["vocab_size"], (setting["batch_size"], setting["context"] + 1))
    tokens, targets = ids[:, :-1], ids[:, 1:]
    if setting["family"] == "nano":
        model = NanoGPT(**{name: setting[name] for name in SHAPE}).train()
        step = update(lambda: model(tokens, targets), model, setting["optim"])
    else:
        model = hugging_face(setting).train()
        step = update(lambda: model(tokens, labels=tokens, use_cache=False).loss, model, setting["optim"])
    return step, sum(p.numel() for p in model.parameters())


def hugging_face(setting: dict[str, Any]) -> torch.nn.Module:
    """GPT-2 as transformers computes it, without dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel

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
    return GPT2LMHeadModel(config)


def main() -> None:
    steps = {name: setup(setting) for name, setting in json.loads(sys.argv[1]).items()}

    def answer(word: str, count: int = 0) -> dict[str, int] | list[float]:
        if word == "sizes":
            return {name: size for name, (_, size) in steps.items()}
        return [seconds(steps[word][0]) for _ in range(count)]

    serve(answer)


if __name__ == "__main__":
    main()
