"""The torch side of lora_step.py: PEFT's LoRA on transformers' model, eager, in a process of its own.

Is given a folder of weights with batch.npz, the fields of the adapter and those of the optimiser. Answers `sizes` with
the trainable and all parameters, `loss` with that of the batch, `block COUNT` with the seconds of each training step.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from harness import seconds
from peer import serve
from peft import LoraConfig, get_peft_model
from torch_steps import update
from transformers import AutoModelForCausalLM


def main() -> None:
    folder, adapter, optim = map(json.loads, sys.argv[1:])
    base = AutoModelForCausalLM.from_pretrained(Path(folder) / "out", dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **adapter)).train()
    batch = {name: torch.from_numpy(x.astype(np.int64)) for name, x in np.load(Path(folder) / "batch.npz").items()}
    tokens, targets = batch["tokens"], batch["targets"]

    def loss() -> torch.Tensor:
        return model(input_ids=tokens, labels=targets, shift_labels=targets, use_cache=False).loss

    step = update(loss, model, optim)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    answers = {
        "sizes": lambda: [trainable, sum(p.numel() for p in model.parameters())],
        "loss": lambda: loss().item(),
        "block": lambda count: [seconds(step) for _ in range(count)],
    }
    serve(lambda word, *given: answers[word](*given))


if __name__ == "__main__":
    main()
