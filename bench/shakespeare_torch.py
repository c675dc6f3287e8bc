"""nanoGPT's model under nanoGPT's recipe for its CPU setting, in torch eager: what 1.88 is on the whole held-out tenth.

Rows start at random offsets and lr falls from 1e-3 to 1e-4, as in nanoGPT. Writes the mean loss over one complete pass,
and the range of three of nanoGPT's own estimates, 20 random batches each.
Needs the corpus: JAXGPT_DATA=<folder that holds tinyshakespeare/>.
"""

import math

import numpy as np
import torch
from harness import arguments, cpu, shakespeare, write
from nanogpt import NanoGPT

ROWS, LENGTH = 12, 64


def learning_rate(step: int, steps: int) -> float:
    if step < 100:
        return 1e-3 * step / 100
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 100) / (steps - 100))) * 9e-4


def main() -> None:
    options = arguments(
        "nanoGPT's CPU setting in torch: loss on the complete pass and as nanoGPT estimates it", timed=False
    )
    steps = 200 if options.quick else 2000
    text = shakespeare().read_text(encoding="utf-8")
    codes = {symbol: code for code, symbol in enumerate(sorted(set(text)))}
    ids = torch.from_numpy(np.array([codes[symbol] for symbol in text]))
    train, held_out = ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :]
    torch.manual_seed(1337)
    model = NanoGPT(len(codes), LENGTH, num_layers=4, d_model=128, num_heads=4)
    for block in model.blocks:
        for layer in (block.out, block.down):
            torch.nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * 4))
    matrices = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))

    def draw(data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        starts = torch.randint(len(data) - LENGTH, (ROWS,)).tolist()
        return tuple(torch.stack([data[s + shift : s + shift + LENGTH] for s in starts]) for shift in (0, 1))

    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        loss = model(*draw(train))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 250 == 0:
            print(f"step {step}/{steps} loss {loss.item():.4f}", flush=True)

    rows = (len(held_out) - 1) // LENGTH
    tokens, targets = (held_out[shift : shift + rows * LENGTH].view(rows, LENGTH) for shift in (0, 1))
    with torch.no_grad():
        total = sum(model(a, b).item() * len(a) for a, b in zip(tokens.split(96), targets.split(96), strict=True))
        estimates = [float(np.mean([model(*draw(held_out)).item() for _ in range(20)])) for _ in range(3)]
    figures = {
        "val_loss_complete_pass": total / rows,
        "val_loss_estimate_lowest": min(estimates),
        "val_loss_estimate_highest": max(estimates),
    }
    write(options, figures, cpu())


if __name__ == "__main__":
    main()
