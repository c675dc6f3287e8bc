"""How does the loss fall with the number of parameters (Kaplan et al. 2020, section 3)?

    jaxgpt ablate experiments/scaling.py

Thirty runs of small GPTs on the text of Python's own standard library: about 9 minutes on 2 cores.

Four layers of growing width, all on the same tokens of text that no arm sees twice: the axis is parameters, not
compute, and the widest are far from done. Heads are 16 wide. The learning rate falls as 1/√width from the demo's
2e-3 at 96; it is not tuned for each size.
"""

from jaxgpt.lab import Experiment, Ladder

WIDTHS = (32, 64, 96, 128, 192)


def sized(width: int) -> dict[str, object]:
    """What a size changes."""
    lr = round(2e-3 * (96 / width) ** 0.5, 6)
    return {"model.d_model": width, "model.num_heads": width // 16, "optim.lr": lr, "steps": 400}


experiment = Experiment(
    question="How does the loss fall with the number of parameters, at equal tokens?",
    base="configs/gpt2/demo.yaml",
    arms={f"d{width:03d}": sized(width) for width in WIDTHS},
    baseline="d032",
    ladder=Ladder(rungs={"gpt": tuple(f"d{width:03d}" for width in WIDTHS)}, axis="parameters"),
    seeds=6,
)
